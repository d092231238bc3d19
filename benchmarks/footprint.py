"""Resident memory of the agent with each runtime, with and without the check of signatures.

    python -m benchmarks.footprint [--processes N]

Real ``edge-agent run`` processes without a broker, on a bundle of the 1D-CNN: read from /proc when the agent says it
is ready (its backbone is loaded and proven on the bundle's probes by then), and again after it has answered and
learned labelled windows. After compileall; medians over several processes; MB are 10^6 bytes. Below them, the same
interpreters without the agent.
"""

from __future__ import annotations

import argparse
import compileall
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.interpreters import ROOT, machine, require_tflite_python
from benchmarks.models import SHAPES, Shape, trained
from converter import Options, convert
from converter.keys import generate_key
from converter.sources import QUIET

SHAPE = "1D-CNN BatchNorm Dropout"
START_TIMEOUT_S = 120.0
WINDOWS = 16
BARE = (
    ("python", "pass"),
    ("python, numpy", "import numpy"),
    ("python, numpy, cryptography's Ed25519", "import numpy, cryptography.hazmat.primitives.asymmetric.ed25519"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One kind of device: its runtime, its interpreter, the form of backbone it gets."""

    runtime: str
    python: str
    formats: str


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--processes", type=int, default=5, help="processes per figure (default 5)")
    options = parser.parse_args(arguments)
    os.environ.update(QUIET)
    tflite = str(require_tflite_python())
    settings = (
        Setting("ai-edge-litert", sys.executable, "tflite"),
        Setting("tflite-runtime", tflite, "tflite"),
        Setting("onnxruntime", sys.executable, "onnx"),
    )
    for room in ("headway", "edge_agent"):
        compileall.compile_dir(ROOT / room, quiet=2)
    print(f"{machine()}; medians of {options.processes} processes, MB\n")
    for name, code in BARE:
        by_python = [_median([_bare(python, code) for _ in range(options.processes)])
                     for python in (sys.executable, tflite)]  # fmt: skip
        print(f"{name:<40} {by_python[0]:6.1f} (numpy 2)   {by_python[1]:6.1f} (numpy 1.26)", flush=True)
    with tempfile.TemporaryDirectory(prefix="headway-footprint-") as folder:
        bundles = _bundles(SHAPES[SHAPE], Path(folder))
        windows, labels = SHAPES[SHAPE].draw(WINDOWS, 5)
        np.savez(Path(folder) / "windows.npz", x=windows, y=labels)
        print("\n| agent with | idle | after windows | with signature check, idle | after windows | cost |")
        print("| --- | --- | --- | --- | --- | --- |")
        for setting in settings:
            plain, signed = [], []
            for _ in range(options.processes):  # interleaved
                plain.append(_agent(setting, bundles[setting.formats], Path(folder), signed=False))
                signed.append(_agent(setting, bundles[setting.formats], Path(folder), signed=True))
            figures = [_median([pair[i] for pair in kind]) for kind in (plain, signed) for i in (0, 1)]
            cells = [*(f"{figure:.1f}" for figure in figures), f"{figures[3] - figures[1]:+.1f}"]
            print(f"| {setting.runtime} | {' | '.join(cells)} |", flush=True)
    return 0


def _bundles(shape: Shape, folder: Path) -> dict[str, Path]:
    """Signed bundles of the shape, by format."""
    model, x, y = trained(shape)
    generate_key(folder / "signing.pem")
    bundles = {}
    for formats in ("tflite", "onnx"):
        bundles[formats] = folder / f"{formats}.hwb"
        options = Options(formats=(formats,), key=folder / "signing.pem")
        convert(model, (x, y, shape.class_names), options, out=bundles[formats])
    return bundles


def _bare(python: str, code: str) -> float:
    script = f"{code}\nprint(open('/proc/self/status').read())"
    return _resident_mb(subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout)


def _agent(setting: Setting, bundle: Path, folder: Path, signed: bool) -> tuple[float, float]:
    """MB resident when ready, and after the windows."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        home = Path(place)
        key = f'\npublic_key = "{folder / "signing.pem.pub"}"' if signed else ""
        (home / "agent.toml").write_text(
            f'[device]\nid = "footprint"\n[bundle]\npath = "{bundle}"{key}\n[storage]\nstate_dir = "state"\n'
            "[sensor]\npoll_interval_s = 0.05\n"
        )
        (home / "spool").mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(home / "notify"))
            ready.settimeout(START_TIMEOUT_S)
            process = subprocess.Popen(
                [setting.python, "-m", "edge_agent.cli", "run", str(home / "agent.toml")],
                cwd=ROOT,
                env={**os.environ, "NOTIFY_SOCKET": str(home / "notify"), "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
            )
            try:
                while b"READY=1" not in ready.recv(4096):
                    continue
                idle = _status_mb(process.pid)
                waiting = home / "spool" / ".windows"
                waiting.write_bytes((folder / "windows.npz").read_bytes())
                waiting.rename(home / "spool" / "windows.npz")
                _await(home / "predictions" / "windows.npz")
                return idle, _status_mb(process.pid)
            except TimeoutError:
                process.kill()
                sys.exit(f"error: the agent did not answer: {process.communicate()[1].decode()[-500:]}")
            finally:
                process.kill()
                process.communicate()


def _await(path: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def _status_mb(pid: int) -> float:
    return _resident_mb(Path(f"/proc/{pid}/status").read_text())


def _resident_mb(status: str) -> float:
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


def _median(figures: Sequence[float]) -> float:
    return float(np.median(figures))


if __name__ == "__main__":
    sys.exit(main())
