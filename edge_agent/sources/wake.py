"""Ends a wait of another thread: a pipe that a byte makes readable."""

from __future__ import annotations

import os


class Wake:
    """Readable, for `select`, once it was rung. Closed with the last who holds it, since a thread may still wait."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC)

    def fileno(self) -> int:
        """What is waited for."""
        return self._read

    def ring(self) -> None:
        """End the wait, and every one after it."""
        os.write(self._write, b"\0")

    def __del__(self) -> None:
        os.close(self._read)
        os.close(self._write)
