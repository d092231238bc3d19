"""An array of raw rows, such as a recording that was saved with numpy.save: (rows, channels) in the bundle's order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_agent.sensors.formats.tables import BLOCK_NUMBERS, Block
from edge_agent.sensors.formats.window_format import WindowFormat
from headway.npz import SingleArray


class RowsArray:
    """Its rows come at the bundle's rate."""

    columns: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    has_labels = has_ids = False

    def __init__(self, array: SingleArray) -> None:
        self._array, self.where = array, array.where
        self._stored = array.stored(array.names[0])
        self.width = self._stored.shape[1] if self._stored.ndim == 2 else 1

    @staticmethod
    def fits(array: SingleArray, taken: WindowFormat) -> bool:
        """Whether it holds rows and not windows; of another shape it is neither, and refused as windows. Raises
        DataError."""
        stored = array.stored(array.names[0])
        if taken.stream is None or stored.shape[1:] == taken.input_shape or stored.dtype.kind not in "fiub":
            return False
        channels = len(taken.stream.channels)
        return not stored.fortran_order and (stored.shape[1:] == (channels,) or (stored.ndim == 1 and channels == 1))

    def blocks(self) -> Iterator[Block]:
        rows = max(1, BLOCK_NUMBERS // self.width)
        for start in range(0, len(self._stored), rows):
            values = self._stored[start : start + rows].astype(np.float64)
            yield Block(values.reshape(len(values), self.width))

    def close(self) -> None:
        self._array.close()
