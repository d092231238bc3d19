"""Processes of the frameworks that are forked where TensorFlow is loaded already: as new as started ones, but sooner.

`python -m tests.converter.frameworks DESCRIPTOR` loads it, then takes orders at that listening socket: for each it
forks a process that runs `converter.export.worker`, says its pid and, when it has ended, how.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from converter.export import worker
from converter.export.export import MEMORY
from converter.sources import QUIET
from testbed.broker import die_with_parent


class Forked:
    """A process of the frameworks, with what `Exporter` uses of a `subprocess.Popen`."""

    def __init__(self, place: Path) -> None:
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.connect(str(place))
        inputs, outputs = os.pipe(), os.pipe()
        self.stdin, self.stdout = open(inputs[1], "w"), open(outputs[0])
        with self._asked.makefile("w") as order:
            socket.send_fds(self._asked, [b"\n"], [inputs[0], outputs[1]])
            order.write(json.dumps([dict(os.environ), os.getcwd(), sys.path]) + "\n")
        os.close(inputs[0])
        os.close(outputs[1])
        self._said = self._asked.makefile()
        self.pid, self._code = int(self._said.readline()), None

    def poll(self) -> int | None:
        return self.wait() if self._code is not None or select.select([self._asked], [], [], 0)[0] else None

    def wait(self) -> int:
        if self._code is None:
            self._code = int(self._said.readline())
            self._said.close()
            self._asked.close()
        return self._code

    def kill(self) -> None:
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def loaded_frameworks(folder: Path) -> Iterator[Callable[[], Forked]]:
    """Begins processes of the frameworks; the one that they are forked from is there until the context ends."""
    place = folder / "frameworks"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.converter.frameworks", str(listening.fileno())],
            pass_fds=[listening.fileno()],
            stderr=subprocess.DEVNULL,
            env={**os.environ, **QUIET, **MEMORY, "PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=die_with_parent,
        )
    try:
        yield lambda: Forked(place)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    import tensorflow  # noqa: F401
    import tf2onnx  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()  # what is loaded is garbage for nobody: the forked ones would copy it to find that out
    listening = socket.socket(fileno=int(sys.argv[1]))
    while True:
        asked, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _look_after_one(asked)
        asked.close()


def _look_after_one(asked: socket.socket) -> Any:
    """Fork it, wait for its end, and end too."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, *_ = socket.recv_fds(asked, 1, 2)
    environment, folder, sys.path = json.loads(asked.makefile().readline())
    if (pid := os.fork()) == 0:
        die_with_parent()
        for own, given in enumerate(descriptors):
            os.dup2(given, own)
            os.close(given)
        asked.close()
        os.chdir(folder)
        os.environ.update(environment | QUIET | MEMORY)
        sys.argv[1:] = ["tensorflow"]
        worker.main()
        os._exit(0)
    for given in descriptors:
        os.close(given)
    asked.sendall(f"{pid}\n".encode())
    asked.sendall(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    main()
