"""The process of the frameworks: opens a model, asks it, writes its backbone down and converts it (see export.py).

It reads one request per line, a JSON object, and answers with another; arrays go through files. A request about a
model says how to open it, so that a new process can go on where one has crashed.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from converter.export.conversions import carry_out
from converter.loading import load_tensorflow
from converter.sources import Opening, Source, open_source
from headway.errors import HeadwayError

Message = dict[str, Any]


class Worker:
    """One model, opened when something is first asked of it."""

    def __init__(self) -> None:
        self._source: Source | None = None
        self._requests = {
            "open": self._open,
            "answers": self._answers,
            "exact": self._exact,
            "save": self._save,
            "convert": self._convert,
        }

    def answer(self, request: Message) -> Message:
        """What was asked for, or, under ``problem``, what was raised."""
        try:
            return self._requests[request["do"]](request)
        except HeadwayError as error:
            return {"problem": str(error), "kind": type(error).__name__}
        except ModuleNotFoundError as error:
            return {"problem": str(error), "kind": "ModuleNotFoundError", "name": error.name}
        except Exception as error:  # noqa: BLE001 - a fault of ours; the parent raises it again
            return {"problem": str(error), "kind": type(error).__name__, "traceback": traceback.format_exc()}

    def _opened(self, request: Message) -> Source:
        if self._source is None:
            given = request["opening"]
            opening = Opening(
                given["layer"], tuple(given["input_shape"]), tuple(given["modules"]), given["allow_lambda"]
            )
            self._source = open_source(request["model"], opening)
        return self._source

    def _open(self, request: Message) -> Message:
        source = self._opened(request)
        weights = source.weights
        np.savez(request["out"], kernel=weights.kernel, bias=weights.bias)
        return {
            "name": source.name,
            "input_shape": list(source.input_shape),
            "weights": {"kind": str(weights.kind), "layer": weights.layer, "log": weights.log},
            "notes": list(source.notes),
            "time_axis": None if source.time_axis is None else str(source.time_axis),
            "formats": list(source.formats),
            "forms": list(source.forms()),
        }

    def _answers(self, request: Message) -> Message:
        embedding, outputs = self._opened(request).answers(np.load(request["inputs"]))
        np.savez(request["out"], embedding=embedding, outputs=outputs)
        return {}

    def _exact(self, request: Message) -> Message:
        exact = self._opened(request).exact(np.load(request["inputs"]))
        if exact is not None:
            np.savez(request["out"], embedding=exact[0], outputs=exact[1])
        return {"possible": exact is not None}

    def _save(self, request: Message) -> Message:
        self._opened(request).save(Path(request["folder"]), request["form"])
        return {}

    def _convert(self, request: Message) -> Message:
        carry_out(request)
        return {}


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches this process too; the parent says what happened
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a framework prints must not be taken for an answer
    if sys.argv[1] == "tensorflow":
        with contextlib.suppress(ModuleNotFoundError):  # the first request that needs it says so
            load_tensorflow()  # now, while the parent reads the data
        gc.freeze()  # it stays until the end, and each look for garbage would go through all of it
    worker = Worker()
    for line in sys.stdin:
        answers.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        _give_back()


def _give_back() -> None:
    """Return freed memory to the system: what one request needed would else be held beside what the next one needs."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


if __name__ == "__main__":
    main()
