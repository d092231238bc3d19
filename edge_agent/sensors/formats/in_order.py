"""Windows that are made anew from a file each time they are read, in order and some at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from headway.arrays import AnyArray, Float32
from headway.errors import DataError


class WindowsInOrder:
    """As `headway.npz.StoredArray`: a slice of it is an array, and to go back is to begin anew. Not thread-safe.

    begin: gives the windows in blocks, float32 (some, *shape[1:]), from the first one on. close: lets go of the file.
    """

    fortran_order = False
    dtype = np.dtype(np.float32)

    def __init__(
        self, where: str, shape: tuple[int, ...], begin: Callable[[], Iterator[Float32]], close: Callable[[], None]
    ) -> None:
        self._where, self.shape, self._begin, self._close = where, shape, begin, close
        self._blocks: Iterator[Float32] = iter(())
        self._block: Float32 = np.empty((0, *shape[1:]), np.float32)
        # of the block's first window; nothing is begun yet
        self._row = -1

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> AnyArray:
        """Raises DataError."""
        start, stop, _ = rows.indices(len(self))
        if self._row < 0 or start < self._row:
            self._blocks, self._row = self._begin(), 0
            self._block = np.empty((0, *self.shape[1:]), np.float32)
        taken = np.empty((max(0, stop - start), *self.shape[1:]), np.float32)
        for at in range(start, stop):
            while at >= self._row + len(self._block):
                self._row += len(self._block)
                block = next(self._blocks, None)
                if block is None:
                    raise DataError(f"{self._where} ends after {self._row} windows; {len(self)} were there before")
                self._block = block
            taken[at - start] = self._block[at - self._row]
        return taken

    def whole(self) -> AnyArray:
        """All of them."""
        return self[:]

    def close(self) -> None:
        """Let go of the file."""
        self._close()
