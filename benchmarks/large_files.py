"""How much memory a spool file takes, at the bounds of what is accepted.

    python -m benchmarks.large_files

Each file goes to an agent of its own, without a broker. MB (10^6 bytes) beyond what is resident when idle: the most
until the file is answered or refused, or for as long as is waited, and a second later.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.agents import ready_agent
from benchmarks.interpreters import machine
from benchmarks.resident import megabytes, small_bundle
from converter.sources import QUIET
from headway.arrays import AnyArray

LOOK_S, IDLE_S, WAIT_S = 0.1, 1.0, 60.0
DEFLATED_BYTES, STORED_BYTES = 250_000_000, 60_000_000
ID_CHARACTERS = 100


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m benchmarks.large_files", description=__doc__).parse_args(arguments)
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(prefix="headway-large-") as name:
        folder = Path(name)
        bundle, _, windows, labels = small_bundle(folder)
        row_bytes = windows[0].nbytes
        stored = np.arange(STORED_BYTES // row_bytes) % len(windows)
        few = np.arange(20_000) % len(windows)
        ids = np.array([f"{number:0{ID_CHARACTERS}d}" for number in range(40_000)])
        files: dict[str, Mapping[str, AnyArray]] = {
            "60 MB of windows": {"x": windows[stored]},
            "20,000 labelled windows": {"x": windows[few], "y": labels[few]},
            "250 MB of windows, deflated": {
                "x": np.zeros((DEFLATED_BYTES // row_bytes, *windows.shape[1:]), np.float32)
            },
            "2,000,000 labels by number": {"id": np.arange(2_000_000, dtype=np.int32), "y": np.zeros(2_000_000, "i1")},
            "40,000 labels by long texts": {"id": ids, "y": np.zeros(len(ids), np.int8)},
        }
        print(f"{machine()}; MB beyond idle")
        for what, content in files.items():
            most, after, seconds = _give(folder, bundle, content, deflated="deflated" in what)
            print(f"{what:<28} {most:+6.1f} at most {after:+6.1f} after {seconds:.0f} s", flush=True)
    return 0


def _give(folder: Path, bundle: Path, content: Mapping[str, AnyArray], *, deflated: bool) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory(dir=folder) as place, ready_agent(Path(place), bundle) as process:
        home = Path(place)
        write = np.savez_compressed if deflated else np.savez
        write(home / "waiting.npz", **content)  # type: ignore[arg-type]
        time.sleep(IDLE_S)
        idle = megabytes(process.pid, "VmRSS")
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # forgets the most that was resident
        (home / "waiting.npz").rename(home / "spool" / "large.npz")
        began_s = time.monotonic()
        claimed = home / "spool" / "claimed"
        while time.monotonic() < began_s + WAIT_S:
            time.sleep(LOOK_S)
            if not (home / "spool" / "large.npz").exists() and not any(claimed.iterdir()):
                break
        seconds = time.monotonic() - began_s
        time.sleep(IDLE_S)
        return megabytes(process.pid, "VmHWM") - idle, megabytes(process.pid, "VmRSS") - idle, seconds


if __name__ == "__main__":
    sys.exit(main())
