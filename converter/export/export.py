"""Exports a backbone to .tflite or .onnx bytes in a process of its own, so that a crash there becomes an error here.

The process starts while the model is still being read, so that loading TensorFlow twice costs one time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from converter.sources import QUIET
from headway.errors import ModelError

EXPORT_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class Job:
    """One conversion. saved: folder written by Source.save; form: how; representative: .npy of windows, for int8.

    portable: dense layers quantised per tensor, which older TFLite runtimes can read too. plan: for engine
    ``trainable``, what converter.export.trainable_graph wrote.
    """

    engine: str
    precision: str
    saved: str
    form: str
    target: str
    representative: str = ""
    portable: bool = False
    allow_flex: bool = False
    plan: str = ""


class Exporter:
    """The export process; restarted after a crash."""

    def __init__(self, tensorflow: bool = True) -> None:
        self._tensorflow = tensorflow
        self._process = self._start()

    def __enter__(self) -> Exporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, job: Job) -> bytes:
        """Convert. Raises ModelError with the converter's own last words, or the signal that ended it."""
        if self._process.poll() is not None:
            self._stop()  # closes its pipes
            self._process = self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asdict(job)) + "\n")
            self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], EXPORT_TIMEOUT_S)[0]:
            self._stop()
            raise ModelError(f"conversion took longer than {EXPORT_TIMEOUT_S:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            how = f"crashed with signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise ModelError(f"the {job.engine} converter {how}")
        problem = json.loads(line)
        if problem is not None:
            raise ModelError(str(problem))
        return Path(job.target).read_bytes()

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "converter.export.export_worker", "tensorflow" if self._tensorflow else "onnx"]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                **QUIET,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "PYTHONHASHSEED": "0",  # tf2onnx names and orders constants as its sets happen to iterate
            },
        )

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
