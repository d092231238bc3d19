"""The upper part of a symmetric table by blocks of rows, in version 5 of packed tables: nothing is gathered to read it.

Of each block of 64 rows what lies right of its part of the diagonal travels by rows, block after block; then of each
what lies above the diagonal within that part, by rows.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from headway.arrays import AnyArray, Float64, Int64, is_large
from headway.wire.planes import ValueReader
from headway.wire.value_fields import read_fields

BLOCK_ROWS = 64


@lru_cache(maxsize=16)
def blocks_of(size: int) -> tuple[tuple[int, int], ...]:
    """First row and end of each block."""
    return tuple((start, min(start + BLOCK_ROWS, size)) for start in range(0, size, BLOCK_ROWS))


def in_blocks(table: Int64) -> Int64:
    """What lies above the diagonal of a symmetric table, int64 (d, d), as it travels: int64 (d (d - 1) / 2,)."""
    places = blocks_of(len(table))
    beside = [table[start:stop, stop:].reshape(-1) for start, stop in places]
    within = [table[start:stop, start:stop][np.triu_indices(stop - start, 1)] for start, stop in places]
    return np.concatenate([*beside, *within, np.zeros(0, np.int64)])


class Blocks:
    """Reads such a table, d = `size`: its diagonal in planes, then its blocks in fields. largest: how far from zero."""

    def __init__(self, reader: ValueReader, size: int) -> None:
        diagonal = reader.take_floats(size)
        self._values = read_fields(reader, size * (size - 1) // 2)
        self.largest = max(largest(diagonal), largest(self._values))
        inside = sum((stop - start) * (stop - start - 1) // 2 for start, stop in blocks_of(size))
        within = np.concatenate([self._values[len(self._values) - inside :], diagonal])
        self._corners = np.take(within, _corner_places(size))
        self._at = self._corner = 0

    def add(self, start: int, panel: Float64) -> None:
        """Add the rows from `start` on, from column `start` on, to float64 (b, d - start); block after block."""
        rows = len(panel)
        beside, corner = panel[:, rows:], panel[:, :rows]
        beside += self._values[self._at : self._at + beside.size].reshape(beside.shape)
        corner += self._corners[self._corner : self._corner + corner.size].reshape(corner.shape)
        self._at, self._corner = self._at + beside.size, self._corner + corner.size


def largest(values: Float64) -> float:
    """How far from zero the farthest is; 0 of none."""
    return max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))


def _corner_places(size: int) -> AnyArray:
    """Where each value of the blocks on the diagonal lies among those above it and the diagonal itself; int64 (n,)."""
    made = _places_of_corners.__wrapped__ if is_large(size) else _places_of_corners
    return np.asarray(made(size))


@lru_cache(maxsize=16)
def _places_of_corners(size: int) -> AnyArray:
    places, first = [], 0
    for start, stop in blocks_of(size):
        block = np.zeros((stop - start, stop - start), np.int64)
        upper = np.triu_indices(stop - start, 1)
        block[upper] = block.T[upper] = first + np.arange(len(upper[0]))
        first += len(upper[0])
        np.fill_diagonal(block, np.arange(start, stop))
        places.append(block)
    for block in places:
        # the diagonal stands behind all others
        np.fill_diagonal(block, first + np.diagonal(block))
    return np.concatenate([block.reshape(-1) for block in places]) if places else np.zeros(0, np.int64)
