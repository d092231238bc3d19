"""The process of the frameworks: it converts backbones to .tflite or .onnx bytes; a model from a file is open there.

A crash in a converter becomes an error here, and TensorFlow is in memory once: the process that proves has no need of
it. It starts while the data is still being read, so that loading TensorFlow costs no time of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from converter.sources import QUIET
from headway.arrays import AnyArray
from headway.errors import ConfigError, DataError, HeadwayError, ModelError

ANSWER_TIMEOUT_S = 1800.0
# one heap for all threads: with one for each, what some have freed is held beside what others take
MEMORY = {"MALLOC_ARENA_MAX": "1"}
FAMILIES: dict[str, type[HeadwayError]] = {each.__name__: each for each in (ConfigError, DataError, ModelError)}


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
    """The process of the frameworks; restarted after a crash.

    tensorflow: load it at the start. log: let what the frameworks write about themselves through to stderr.
    """

    def __init__(self, tensorflow: bool = True, log: bool = False) -> None:
        self._tensorflow, self._log = tensorflow, log
        self._folder = tempfile.TemporaryDirectory(prefix="edge-convert-")
        self._asking = threading.Lock()
        self._process = self._start()

    def __enter__(self) -> Exporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._folder.cleanup()

    def run(self, job: Job) -> bytes:
        """Convert. Raises ModelError with the converter's own last words, or the signal that ended it."""
        self.ask({"do": "convert", **asdict(job)})
        return Path(job.target).read_bytes()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request (converter/export/worker.py). Raises what was raised there, or ModelError."""
        with self._asking:
            return self._asked(request)

    def ask_with_arrays(
        self, request: dict[str, Any], inputs: AnyArray | None = None
    ) -> tuple[dict[str, Any], dict[str, AnyArray]]:
        """The same, with an array for the question, and those of the answer by name."""
        given, out = Path(self._folder.name) / "inputs.npy", Path(self._folder.name) / "answer.npz"
        with self._asking:
            if inputs is not None:
                np.save(given, inputs)
            answer = self._asked({**request, "inputs": str(given), "out": str(out)})
            if not out.exists():
                return answer, {}
            with np.load(out, allow_pickle=False) as arrays:
                found = dict(arrays)
            out.unlink()
            return answer, found

    def _asked(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process.poll() is not None:
            self._stop()  # closes its pipes
            self._process = self._start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        what = f"the {request['engine']} converter" if request["do"] == "convert" else "the process of the model"
        if not select.select([self._process.stdout], [], [], ANSWER_TIMEOUT_S)[0]:
            self._stop()
            raise ModelError(f"{what} took longer than {ANSWER_TIMEOUT_S:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            how = f"crashed with signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise ModelError(f"{what} {how}")
        answer: dict[str, Any] = json.loads(line)
        if "problem" in answer:
            raise _problem(answer)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "converter.export.worker", "tensorflow" if self._tensorflow else "onnx"]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self._log else subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                **{name: os.environ.get(name, value) for name, value in (QUIET | MEMORY).items()},
                "PYTHONPATH": os.pathsep.join(part or os.getcwd() for part in sys.path),
                "PYTHONSAFEPATH": "1",  # a file beside the model must not shadow a module
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


def _problem(answer: dict[str, Any]) -> Exception:
    """The error that the process met, to be raised here."""
    kind, said = answer["kind"], answer["problem"]
    if kind in FAMILIES:
        return FAMILIES[kind](said)
    if kind == "ModuleNotFoundError":
        return ModuleNotFoundError(said, name=answer["name"])
    error = RuntimeError(f"{kind}: {said}")
    error.add_note(answer["traceback"])
    return error
