"""Counts how often the process ended while it worked on a file: a window may hang the inference runtime, or crash it.

The file at hand is noted before work on it and crossed out after it, in place and without waiting for the disk, so that
an ordinary file costs nothing. A note that a start finds is a try that did not come to an end; it is counted durably
before anything is tried again. A power cut takes the note with it: it was not the file's fault.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import Struct

from headway.errors import HeadwayError

log = logging.getLogger("edge-agent")

TRIES_MAX = 3
TRIED = f"tried {TRIES_MAX} times without coming to an end: a window of it hangs or kills the inference runtime"
# sequence number, rows that were learned before, tries
RECORD = Struct("<QQQ")
CHECK = Struct("<I")
AT_HAND, COUNTED = 0, 64
Record = tuple[int, int, int]
NOTHING: Record = (0, 0, 0)


class Attempts:
    """Of the files of one spool, in a file of its own. path: None, or one that cannot be written, counts nothing."""

    def __init__(self, path: Path | None) -> None:
        self._descriptor: int | None = None
        self._counted = NOTHING
        if path is None:
            return
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            self._take_over(self._descriptor)
        except OSError as error:
            self._failed(error)

    @contextmanager
    def trying(self, sequence: int, rows: int) -> Iterator[None]:
        """Around work on this file, of which `rows` rows are learned.

        An error that is raised on purpose is an end as good as any; with any other the try stays open.
        """
        self._note(AT_HAND, (sequence, rows, 0))
        try:
            yield
        except HeadwayError:
            self._note(AT_HAND, NOTHING)
            raise
        self._note(AT_HAND, NOTHING)

    def tries(self, sequence: int, rows: int) -> int:
        """How often work on the file did not come to an end since that many rows of it were learned."""
        return self._counted[2] if self._counted[:2] == (sequence, rows) else 0

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _take_over(self, descriptor: int) -> None:
        """Count what the last run left at hand."""
        sequence, rows, _ = _read(descriptor, AT_HAND)
        self._counted = _read(descriptor, COUNTED)
        if sequence:
            self._counted = sequence, rows, self.tries(sequence, rows) + 1
            self._note(COUNTED, self._counted)
            self._note(AT_HAND, NOTHING)
            os.fsync(descriptor)

    def _note(self, place: int, record: Record) -> None:
        if self._descriptor is None:
            return
        body = RECORD.pack(*record)
        try:
            os.pwrite(self._descriptor, body + CHECK.pack(zlib.crc32(body)), place)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        log.warning("tries of files are not counted: %s", error.strerror)
        self.close()


def _read(descriptor: int, place: int) -> Record:
    """A record; nothing where none was ever written, or a power cut damaged it."""
    found = os.pread(descriptor, RECORD.size + CHECK.size, place)
    body, check = found[: RECORD.size], found[RECORD.size :]
    if len(check) != CHECK.size or CHECK.unpack(check)[0] != zlib.crc32(body):
        return NOTHING
    sequence, rows, tries = RECORD.unpack(body)
    return sequence, rows, tries
