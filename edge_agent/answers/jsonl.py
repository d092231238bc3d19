"""Adds answers to a file, one line of JSON each, and begins a new file when it has grown.

A line is written before the commit of what it answers, without fsync. So a process that is killed in between finds its
last lines when it starts again, and does not write them twice; a power cut may take the newest lines, and the answers
in predictions_dir are what it cannot take.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge_agent.answers.ports import Given
from headway.errors import RemoteError
from headway.wire import WindowAnswer

# longer than any line
TAIL_BYTES = 256 << 10


class JsonlFile:
    """An `AnswerSink`. bytes_max: of one file; files_max: older ones, ``NAME.1`` the newest of them.

    A file that cannot be written is tried again with the next answers.
    """

    def __init__(self, path: Path, bytes_max: int, files_max: int) -> None:
        self._path, self._bytes_max, self._files_max = path, bytes_max, files_max
        self.dropped, self.problem = 0, ""
        self._file: int | None = None
        self._last = (0, 0)

    def take(self, answers: Sequence[Given], *, again: bool) -> None:
        lines: list[bytes] = []
        try:
            file = self._opened()
            lines = [given.payload + b"\n" for given in answers if not again or given.place > self._last]
            if lines:
                self._write(file, b"".join(lines))
                self._last = answers[-1].place
        except OSError as error:
            self.dropped += len(lines or answers)
            self.problem = f"cannot write {self._path}: {error.strerror or error}"

    def turn(self) -> None:
        return

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        """The file, opened anew where somebody has taken it away. Raises OSError."""
        if self._file is None:
            self._file = self._open()
            self._last = self._take_up(self._file)
        elif not os.fstat(self._file).st_nlink:
            self.close()
            self._file = self._open()
        return self._file

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def _write(self, file: int, lines: bytes) -> None:
        """All of it, or nothing: a disk that is full leaves no half line. Raises OSError."""
        size = os.fstat(file).st_size
        if size and size + len(lines) > self._bytes_max:
            self._rotate()
            self.close()
            file, size = self._open(), 0
            self._file = file
        try:
            left = memoryview(lines)
            while left:
                left = left[os.write(file, left) :]
        except OSError:
            os.ftruncate(file, size)
            raise

    def _rotate(self) -> None:
        """Rename, so that whoever follows the file can read it to its end."""
        for number in range(self._files_max, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                os.replace(older, self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _take_up(self, file: int) -> tuple[int, int]:
        """Cut a half line off the end; place of the last answer that is there, (0, 0) for none."""
        size = os.fstat(file).st_size
        tail = os.pread(file, TAIL_BYTES, max(0, size - TAIL_BYTES))
        whole, end, half = tail.rpartition(b"\n")
        if half:
            os.ftruncate(file, size - len(half))
        if not end and self._numbered(1).exists():
            whole = self._numbered(1).read_bytes()[-TAIL_BYTES:].rstrip(b"\n")
        line = whole.rpartition(b"\n")[2]
        try:
            last = WindowAnswer.decode(line) if line else None
        except RemoteError:
            return 0, 0  # somebody else wrote it
        return (0, 0) if last is None else (last.sequence, last.row)
