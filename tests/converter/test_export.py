"""The export process: its errors and its crashes come back as one line, and it is there again for the next job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converter.export.export import Exporter, Job
from converter.export.export_worker import representative
from headway.errors import ModelError

JOB = Job("onnx", "int8", "nowhere", "any", "nowhere/out.onnx")


class Scripted(Exporter):
    """An exporter whose process is a script."""

    script = "import sys; sys.stdin.readline()"

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self.script]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("os.kill(os.getpid(), 11)", "the onnx converter crashed with signal 11"),
        ("sys.exit(3)", "the onnx converter ended with exit code 3"),
    ],
)
def test_a_crash_is_reported_and_the_next_job_gets_a_new_process(ending: str, message: str) -> None:
    class Crashing(Scripted):
        script = f"import os, sys; sys.stdin.readline(); {ending}"

    with Crashing() as exporter:
        for _ in range(2):
            with pytest.raises(ModelError, match=message):
                exporter.run(JOB)


def test_what_the_converter_says_is_raised() -> None:
    class Refusing(Scripted):
        script = "import sys; sys.stdin.readline(); print('\"op is neither a custom op nor a flex op\"', flush=True)"

    with Refusing() as exporter, pytest.raises(ModelError, match="op is neither a custom op nor a flex op"):
        exporter.run(JOB)


def test_calibration_sees_every_class() -> None:
    by_class = np.repeat(np.arange(8), 64)[:, None]
    assert set(representative(by_class)[:, 0]) == set(range(8))
    assert len(representative(by_class)) == 200
    assert representative(by_class[:3]).tolist() == by_class[:3].tolist()


def test_the_process_ends_with_its_context() -> None:
    with Scripted() as exporter:
        process = exporter._process
        assert process.poll() is None
    assert process.poll() is not None


def test_the_real_one_reports_a_model_that_is_not_there(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "backbone.onnx").write_bytes(b"no model")
    job = Job("onnx", "int8", str(tmp_path), "any", str(tmp_path / "out.onnx"), str(tmp_path / "rows.npy"))
    with Exporter(tensorflow=False) as exporter, pytest.raises(ModelError) as caught:
        exporter.run(job)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()
