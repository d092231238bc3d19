"""Runs backbones on the inference runtimes installed here, each in a process of its own: a crash becomes a finding."""

from __future__ import annotations

import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.arrays import Float32
from headway.errors import ConfigError, ModelError

WORKERS = Path(__file__).parent
WORKER = "runtime_worker.py"
TFLITE_PYTHON = "HEADWAY_TFLITE_PYTHON"
RUN_TIMEOUT_S = 1800.0
ENGINES = {"tflite": ("ai-edge-litert", "tflite-runtime"), "onnx": ("onnxruntime",)}
MODULES = {
    "ai-edge-litert": "ai_edge_litert",
    "tflite-runtime": "tflite_runtime",
    "onnxruntime": "onnxruntime",
}


@dataclass(frozen=True, slots=True)
class Run:
    """embedding: float32 (n, e), one window at a time; latency_us: median of one window, 0 when not timed."""

    embedding: Float32
    latency_us: float


@dataclass(frozen=True, slots=True)
class Runtime:
    """An installed runtime: its distribution's name, its version, and the Python that has it."""

    name: str
    version: str
    python: str

    def run(self, payload: bytes, inputs: Float32, seconds: float = 0.0) -> Run:
        """Run a backbone on windows, then time it for `seconds`.

        payload: a .tflite or .onnx; inputs: float32 (n, *input_shape). Raises ModelError with the runtime's words.
        """
        with tempfile.TemporaryDirectory(prefix="edge-convert-") as scratch:
            model, rows, out = Path(scratch) / "model", Path(scratch) / "inputs.npy", Path(scratch) / "out.npz"
            model.write_bytes(payload)
            np.save(rows, inputs)
            self.call(WORKER, model, rows, out, str(seconds))
            with np.load(out, allow_pickle=False) as answer:
                embedding, times = answer["embedding"], answer["times_ns"]
        return Run(embedding, float(np.median(times)) / 1e3 if len(times) else 0.0)

    def call(self, worker: str, model: Path, given: Path, out: Path, *more: str) -> None:
        """Let a script beside this module read `given` and write `out`. Raises ModelError when it did not."""
        result = _call(self.python, worker, self.name, str(model), str(given), str(out), *more)
        if result.returncode or not out.exists():
            raise ModelError(f"{self.name} {self.version} cannot run it: {_last_words(result)}")


def installed_runtimes(engine: str, tflite_python: Path | None = None) -> tuple[Runtime, ...]:
    """Runtimes for an engine (``tflite`` or ``onnx``) that start.

    tflite_python: interpreter of an environment that holds tflite-runtime, which needs numpy<2 and so cannot live
    beside TensorFlow; by default the one named by HEADWAY_TFLITE_PYTHON.
    Raises ConfigError when that interpreter was named but does not have it.
    """
    return _installed(engine, str(tflite_python or os.environ.get(TFLITE_PYTHON, "")))


@functools.cache
def _installed(engine: str, other: str) -> tuple[Runtime, ...]:
    """Asked once: each answer costs the start of a process."""
    found = []
    for name in ENGINES[engine]:
        separate = name == "tflite-runtime" and other
        if not separate and importlib.util.find_spec(MODULES[name]) is None:
            continue
        python = other if separate else sys.executable
        try:
            result = _call(python, WORKER, name)
        except OSError as error:
            raise ConfigError(f"cannot run {python} for tflite-runtime: {error.strerror or error}") from error
        if result.returncode == 0:
            found.append(Runtime(name, result.stdout.strip(), python))
        elif separate:
            raise ConfigError(f"{python} has no working tflite-runtime: {_last_words(result)}")
    return tuple(found)


def _call(python: str, worker: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, str(WORKERS / worker), *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    environment["PYTHONSAFEPATH"] = "1"  # our own modules' folder must not shadow the standard library
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"running the backbone took longer than {RUN_TIMEOUT_S:.0f} s") from error


def _last_words(result: subprocess.CompletedProcess[str]) -> str:
    if result.returncode < 0:
        return f"it crashed with signal {-result.returncode}"
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return lines[-1][:600] if lines else f"exit code {result.returncode}"
