"""The export process: its errors and its crashes come back as one line, and it is there again for the next job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.export.conversions import representative
from converter.export.export import Exporter, Job
from converter.export.remote_source import open_remotely
from converter.export.worker import Worker
from converter.sources import Opening, open_source
from headway.errors import ConfigError, ModelError
from tests.converter.onnx_models import CLASSES, data, torch_like

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
        script = (
            "import sys; sys.stdin.readline(); "
            'print(\'{"problem": "op is neither a custom op nor a flex op", "kind": "ModelError"}\', flush=True)'
        )

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


def test_a_model_in_the_other_process_answers_as_one_that_is_open_here(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = torch_like(tmp_path)
    x, _ = data(5)
    here = open_source(path)
    with Exporter(tensorflow=False) as exporter:
        there = open_remotely(path, Opening(), exporter)
        for name in ("name", "input_shape", "notes", "time_axis", "formats"):
            assert getattr(there, name) == getattr(here, name)
        assert there.forms() == here.forms()
        assert there.weights.head(CLASSES).kernel.tobytes() == here.weights.kernel.tobytes()
        exporter._process.kill()  # the next question finds a new process, which opens the model again
        exporter._process.wait()
        for own, other in zip(here.answers(x), there.answers(x), strict=True):
            assert own.tobytes() == other.tobytes()
        assert there.exact(x) is None
        there.save(tmp_path / "saved", "any")
    assert (tmp_path / "saved" / "backbone.onnx").exists()


@pytest.mark.parametrize(
    ("raised", "expected", "note"),
    [
        (ModelError("no head"), ModelError, ""),
        (ConfigError("--import x fails"), ConfigError, ""),
        (ModuleNotFoundError("no keras", name="keras"), ModuleNotFoundError, ""),
        (ZeroDivisionError("of ours"), RuntimeError, "ZeroDivisionError"),
    ],
)
def test_what_is_raised_there_is_raised_here(raised: Exception, expected: type[Exception], note: str) -> None:
    class Raising(Worker):
        def _opened(self, request: dict[str, Any]) -> Any:
            raise raised

    answer = Raising().answer({"do": "open"})
    said = f"import sys; sys.stdin.readline(); print({json.dumps(answer)!r}, flush=True)"

    class Answering(Scripted):
        script = said

    with Answering() as exporter, pytest.raises(expected, match=str(raised)) as caught:
        exporter.ask({"do": "open"})
    assert note in "".join(getattr(caught.value, "__notes__", []))
    assert getattr(caught.value, "name", None) == getattr(raised, "name", None)
