"""The queue of exports: each form saved once, jobs in order, Flex operators refused, the scratch folder gone after."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from converter.export import export_queue
from converter.export.export import Job
from converter.export.export_queue import ExportQueue
from headway.errors import ModelError
from tests.arrays import assert_same

ROWS = np.zeros((3, 4), np.float32)


@dataclass
class Saves:
    """A source of which only `save` is asked."""

    forms: list[str] = field(default_factory=list)

    def save(self, folder: Path, form: str) -> None:
        folder.mkdir()
        self.forms.append(form)


@dataclass
class Writes:
    """An exporter that keeps the jobs."""

    jobs: list[Job] = field(default_factory=list)

    def run(self, job: Job) -> bytes:
        assert Path(job.saved).is_dir()
        assert_same(np.load(job.representative), ROWS)
        self.jobs.append(job)
        return job.precision.encode()


def test_a_form_is_saved_once_and_jobs_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_queue, "flex_operators", lambda payload: [])
    source, exporter = Saves(), Writes()
    with ExportQueue(source, ROWS, exporter, allow_flex=False) as exports:  # type: ignore[arg-type]
        folder = exports.save("any")
        begun = [exports.begin("tflite", precision, "any") for precision in ("float32", "int8")]
        begun.append(exports.begin("tflite", "int8", "one", portable=True))
        assert [future.result(10) for future in begun] == [b"float32", b"int8", b"int8"]
        assert exports.aside(lambda: 0.5) == 0.5
    assert source.forms == ["any", "one"]
    assert [(job.precision, job.form, job.portable) for job in exporter.jobs] == [
        ("float32", "any", False), ("int8", "any", False), ("int8", "one", True),
    ]  # fmt: skip
    assert len({job.target for job in exporter.jobs}) == 3
    assert not folder.exists()


@pytest.mark.parametrize("allowed", [False, True])
def test_flex_operators_are_refused_unless_allowed(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_queue, "flex_operators", lambda payload: ["FlexErf"])
    with ExportQueue(Saves(), ROWS, Writes(), allowed) as exports:  # type: ignore[arg-type]
        begun = exports.begin("tflite", "float32", "any")
        if allowed:
            assert begun.result(10) == b"float32"
        else:
            with pytest.raises(ModelError, match=r"needs TensorFlow operators \['FlexErf'\]; use other layers"):
                begun.result(10)
