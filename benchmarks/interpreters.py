"""The interpreters a figure runs in: this one, and that of tflite-runtime 2.14 in its own environment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

from converter.proof import TFLITE_PYTHON

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_TFLITE_PYTHON = ROOT / ".cache" / "tflite-runtime" / "bin" / "python"
PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "onnxruntime", "tf2onnx", "numpy")


class ChildError(Exception):
    """A measuring process failed; its last words."""


def tflite_python() -> Path | None:
    """The interpreter that has tflite-runtime: HEADWAY_TFLITE_PYTHON, else what `make tflite-env` made, else none."""
    named = os.environ.get(TFLITE_PYTHON, "")
    path = Path(named) if named else DEFAULT_TFLITE_PYTHON
    return path if named or path.exists() else None


def require_tflite_python() -> Path:
    """Exits with one line when there is none: a figure without that runtime would look better than it is."""
    path = tflite_python()
    if path is None:
        sys.exit("error: tflite-runtime has no environment here; run make tflite-env, or set HEADWAY_TFLITE_PYTHON")
    return path


def run_module(python: str | Path, module: str, *arguments: str) -> str:
    """Run ``python -m module`` from the project's folder; what it printed. Raises ChildError."""
    done = subprocess.run(
        [str(python), "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ChildError(f"python -m {module} failed: {done.stderr.strip()[-600:]}")
    return done.stdout


def machine() -> str:
    """One line for the published table: processors, Python, versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} {platform.machine()} cores, Python {platform.python_version()}, {versions}; "
        "tflite-runtime 2.14 on numpy 1.26 in its own environment"
    )


def scratch_rows(folder: Path, name: str, rows: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Path:
    """Write windows where a child process can read them."""
    path = folder / f"{name}.npy"
    np.save(path, rows)
    return path
