"""Runs the exports of one conversion in the background, one at a time, in the order requested."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeVar

import numpy as np

from converter.export.export import Job
from converter.export.versions import flex_operators
from converter.sources import Source, first_line
from headway.arrays import Float32
from headway.errors import HeadwayError, ModelError

Answer = TypeVar("Answer")
SUFFIX = {"tflite": ".tflite", "onnx": ".onnx"}


class Exports(Protocol):
    """What converts; converter.export.export.Exporter outside of tests."""

    def run(self, job: Job) -> bytes: ...


class ExportQueue:
    """Backbones of one source. representative: float32 (n, *input_shape), preprocessed, to calibrate int8 with."""

    def __init__(self, source: Source, representative: Float32, exporter: Exports, allow_flex: bool) -> None:
        self._source, self._exporter, self._allow_flex = source, exporter, allow_flex
        self._folder = tempfile.TemporaryDirectory(prefix="edge-convert-")
        self._scratch = Path(self._folder.name)
        self._thread = ThreadPoolExecutor(1)
        np.save(self._scratch / "representative.npy", representative)

    def __enter__(self) -> ExportQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._folder.cleanup()

    def save(self, form: str) -> Path:
        """The folder of the backbone in one of the source's forms, written when it is first asked for.

        It may change layers of the model meanwhile, so nobody else may be running the model.
        """
        saved = self._scratch / f"saved-{form}"
        if not saved.exists():
            try:
                self._source.save(saved, form)
            except (HeadwayError, ModuleNotFoundError):
                raise
            except Exception as error:  # layers raise what they like
                shutil.rmtree(saved, ignore_errors=True)
                raise ModelError(f"the backbone cannot be written down: {first_line(error)}") from error
        return saved

    def begin(self, engine: str, precision: str, form: str, portable: bool = False) -> Future[bytes]:
        """Start an export; its result raises ModelError with what went wrong."""
        return self._thread.submit(self._export, engine, precision, form, portable)

    def aside(self, question: Callable[[], Answer]) -> Answer:
        """Ask something of the model between two exports: one of them may be changing layers of it."""
        return self._thread.submit(question).result()

    def _export(self, engine: str, precision: str, form: str, portable: bool) -> bytes:
        target = self._scratch / f"{form}-{precision}-{portable}{SUFFIX[engine]}"
        rows = str(self._scratch / "representative.npy")
        job = Job(engine, precision, str(self.save(form)), form, str(target), rows, portable, self._allow_flex)
        payload = self._exporter.run(job)
        if engine == "tflite" and not self._allow_flex and (found := flex_operators(payload)):
            raise ModelError(f"needs TensorFlow operators {found}; use other layers, or give --allow-flex")
        return payload
