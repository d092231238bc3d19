"""What rounding took from the updates so far, to be added to the next one; saved with them."""

from __future__ import annotations

import numpy as np

from headway.arrays import Float32
from headway.errors import StoreError
from headway.tensors import decode_tensors, encode_tensors
from headway.wire import Precision, dequantise, quantise

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

    def take_changes(self, everything: bool = False) -> dict[str, bytes]:
        """What to save since the last call, by the name it is stored under."""
        changed, self._changed = self._changed or everything, False
        if not changed or self._residual is None:
            return {}
        return {"residual": encode_tensors({"residual": self._residual})}

    def restore(self, saved: bytes) -> None:
        """Inverse of `take_changes`. Raises StoreError."""
        tensors, _ = decode_tensors(saved, "saved residual", StoreError, RESIDUAL_BYTES_MAX)
        residual = tensors.get("residual")
        if residual is None or residual.dtype != np.float32 or residual.ndim != 2:
            raise StoreError("saved residual is damaged")
        self._residual = residual
