"""How often the agent waits for the disk, per file of a backlog: `python -m benchmarks.syncs [--files N]`.

The real program (``edge-agent run --once``, no broker) under strace, on files of one window that wait in the spool,
with a label each and without. Starting and ending sync, too: the same without a file is taken off. strace makes
everything slow, so groups that are closed by their age are smaller here than they are in truth.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.interpreters import ROOT, machine
from benchmarks.models import SHAPES, trained
from converter import Options, convert
from converter.sources import QUIET
from headway.arrays import AnyArray

SHAPE = "1D-CNN BatchNorm Dropout"
CALLS = "fsync,fdatasync,sync_file_range,syncfs"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.syncs", description=__doc__)
    parser.add_argument("--files", type=int, default=200, help="files in the backlog (default 200)")
    files = parser.parse_args(arguments).files
    if shutil.which("strace") is None:
        sys.exit("error: strace is not installed; apt install strace")
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory(prefix="headway-syncs-") as name:
        folder = Path(name)
        model, x, y = trained(SHAPES[SHAPE])
        convert(model, (x, y, SHAPES[SHAPE].class_names), Options(formats=("tflite",)), out=folder / "watch.hwb")
        windows, labels = SHAPES[SHAPE].draw(files, 5)
        print(f"{machine()}; {files} files")
        nothing = _syncs(folder, {})
        for what, labelled in (("without labels", False), ("one label each", True)):
            contents = {}
            for row in range(files):
                arrays: dict[str, AnyArray] = {"x": windows[row : row + 1]}
                contents[f"{row:04d}"] = arrays | ({"y": labels[row : row + 1]} if labelled else {})
            print(f"{what}: {(_syncs(folder, contents) - nothing) / files:.2f} syncs a file")
    return 0


def _syncs(folder: Path, contents: dict[str, dict[str, AnyArray]]) -> int:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        home = Path(place)
        (home / "spool").mkdir()
        for name, arrays in contents.items():
            np.savez(home / "spool" / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        (home / "agent.toml").write_text(
            f'[device]\nid = "figures"\n[bundle]\npath = "{folder / "watch.hwb"}"\n[storage]\nstate_dir = "state"\n'
        )
        agent = [sys.executable, "-m", "edge_agent.cli", "run", "--once", str(home / "agent.toml")]
        command = ["strace", "-f", "-e", f"trace={CALLS}", "-o", str(home / "calls"), *agent]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)
        answers = len(list((home / "predictions").iterdir()))
        if done.returncode or answers != len(contents):
            sys.exit(f"error: {answers} answers to {len(contents)} files: {done.stderr.decode()[-500:]}")
        return len(re.findall(r"\b(?:f(?:data)?sync|sync_file_range|syncfs)\(", (home / "calls").read_text()))


if __name__ == "__main__":
    sys.exit(main())
