"""Defines what the readers of single formats give: rows in blocks, or windows; and labels, by row or by window."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from headway.arrays import Float64
from headway.errors import DataError

# numbers of one block
BLOCK_NUMBERS = 1 << 16


@dataclass(frozen=True, slots=True)
class Block:
    """values: float64 (n, columns), NaN where one is missing. times_s: float64 (n,), None where rows come at the
    bundle's rate. labels: a text for each row, "" for none; None where the file has none. ids: likewise.
    """

    values: Float64
    times_s: Float64 | None = None
    labels: Sequence[str] | None = None
    ids: Sequence[str] | None = None


class Table(Protocol):
    """A file of lines or frames. columns: names of the values, none where the file does not name them.

    units: of the columns. unread: what it also holds.
    """

    where: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    unread: tuple[str, ...]
    width: int
    has_labels: bool
    has_ids: bool

    def blocks(self) -> Iterator[Block]:
        """All of it, from the beginning. Raises DataError."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Unchanged:
    """Whether a file still is what was opened: nobody may write to a file that is being read."""

    def __init__(self, file: io.FileIO, where: str) -> None:
        self._file, self._where = file, where
        self._stamp = self._look()

    def check(self) -> None:
        """Raises DataError."""
        if self._look() != self._stamp:
            raise DataError(f"{self._where} was changed while it was read; write a new file and rename it instead")

    def _look(self) -> tuple[int, int]:
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns
