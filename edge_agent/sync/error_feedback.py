"""Error feedback for quantised updates: the rounding error of each is added to the next (Seide et al. 2014)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_agent.store import Extent, Saved
from headway.arrays import Float32
from headway.errors import StoreError
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import Precision, dequantise, quantise

# name in the store
RESIDUAL = "residual"
RESIDUAL_BYTES_MAX = 256 << 20


class ErrorFeedback:
    """The residual of `headway.wire.precision`, float32 (C, d + 1); None before the first rounding."""

    def __init__(self) -> None:
        self._residual: Float32 | None = None
        self._changed = False

    def added(self, delta: Float32, precision: Precision) -> Float32:
        """The delta to send: with what is still owed. Notes what rounding it will take."""
        wanted = delta
        if self._residual is not None:
            # rows of classes that came since then are owed nothing yet
            wanted = wanted + np.pad(self._residual, ((0, len(wanted) - len(self._residual)), (0, 0)))
        if precision is not Precision.FLOAT32 or self._residual is not None:
            self._residual = wanted - dequantise(quantise(wanted, precision))
            self._changed = True
        return wanted

    def take_changes(self, extent: Extent) -> Saved:
        changed, self._changed = self._changed or extent is Extent.EVERYTHING, False
        if not changed or self._residual is None:
            return Saved({})
        return Saved({RESIDUAL: encode_tensors({"residual": self._residual})})

    def restore(self, saved: Mapping[str, bytes]) -> None:
        if RESIDUAL not in saved:
            return
        tensors, _ = decode_tensors(saved[RESIDUAL], "saved residual", StoreError, RESIDUAL_BYTES_MAX)
        residual = tensors.get("residual")
        if residual is None or residual.dtype != np.float32 or residual.ndim != 2:
            raise StoreError("saved residual is damaged")
        self._residual = residual
