"""Runtimes in processes of their own: one that crashes, one with the wrong NumPy, one that is not there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from converter.proof import runtimes
from converter.proof.runtimes import Runtime, installed_runtimes
from headway.errors import ConfigError, ModelError
from tests.arrays import assert_same

X = np.arange(12, dtype=np.float32).reshape(3, 4)


def interpreter(folder: Path, numpy_version: str = "1.26.4", body: str = "") -> Path:
    """A Python with a fake tflite-runtime, as an environment of its own would have it."""
    modules = folder / "modules" / "tflite_runtime"
    modules.mkdir(parents=True)
    # the worker looks at NumPy's version only when asked which tflite-runtime this is
    (modules / "__init__.py").write_text(
        f"import numpy\nnumpy.__version__ = {numpy_version!r}\n__version__ = '2.14.0'\n"
    )
    (modules / "interpreter.py").write_text(
        "import os\nclass Interpreter:\n"
        "    def __init__(self, model_path, num_threads):\n        self.shape = (1, 4)\n"
        f"        {body or 'pass'}\n"
        "    def get_input_details(self): return [{'index': 0, 'shape': self.shape}]\n"
        "    def get_output_details(self): return [{'index': 1}]\n"
        "    def allocate_tensors(self): pass\n"
        "    def set_tensor(self, index, value): self.value = value\n"
        "    def invoke(self): pass\n"
        "    def get_tensor(self, index): return self.value * 2\n"
    )
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{folder / "modules"}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return python


def only_tflite_runtime(python: Path) -> Runtime:
    return next(r for r in installed_runtimes("tflite", python) if r.name == "tflite-runtime")


def test_a_separate_environment_runs_the_backbone(tmp_path: Path) -> None:
    runtime = only_tflite_runtime(interpreter(tmp_path))
    assert runtime.version == "2.14.0"
    run = runtime.run(b"model", X, seconds=0.01)
    assert_same(run.embedding, X * 2)
    assert run.latency_us > 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('Didn\\'t find op')", "tflite-runtime 2.14.0 cannot run it: ValueError: Didn't find op"),
        ("os.kill(os.getpid(), 11)", "cannot run it: it crashed with signal 11"),
        ("os._exit(3)", "cannot run it: exit code 3"),
    ],
)
def test_a_crash_there_is_a_finding_here(body: str, message: str, tmp_path: Path) -> None:
    runtime = only_tflite_runtime(interpreter(tmp_path, body=body))
    with pytest.raises(ModelError) as caught:
        runtime.run(b"model", X)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numpy_2_beside_tflite_runtime_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no working tflite-runtime: ImportError: .* needs numpy<2, found 2.1.0"):
        installed_runtimes("tflite", interpreter(tmp_path, "2.1.0"))


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot run .*gone for tflite-runtime"):
        installed_runtimes("tflite", tmp_path / "gone")


def test_nothing_hangs_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = only_tflite_runtime(interpreter(tmp_path, body="import time; time.sleep(60)"))
    monkeypatch.setattr(runtimes, "RUN_TIMEOUT_S", 1.0)
    with pytest.raises(ModelError, match="took longer than 1 s"):
        runtime.run(b"model", X)
