"""Rounds weight deltas to float16, or to int8 with one scale per class; the rounding error is returned to the caller.

    wanted = delta + residual;   sent = quantised(wanted);   residual <- wanted - sent

With this error feedback (Seide et al. 2014; Karimireddy et al., ICML 2019) what was sent adds up to what was learned,
but for one residual at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np

from headway.arrays import AnyArray, Float32, describe
from headway.errors import RemoteError, listed

INT8_MAX = 127
# float16 ends at 65504; what is larger travels as it is
FLOAT16_MAX = 60_000.0


class Precision(StrEnum):
    """How a delta travels."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"


def quantise(delta: Float32, precision: Precision) -> dict[str, AnyArray]:
    """The tensors that carry a delta, float32 (C, d + 1): ``delta``, and ``scale`` float32 (C,) for int8."""
    largest = np.abs(delta).max(axis=1, initial=0.0)
    if precision is Precision.FLOAT16 and largest.max(initial=0.0) < FLOAT16_MAX:
        return {"delta": delta.astype(np.float16)}
    if precision is Precision.INT8:
        scale = np.maximum(largest / np.float32(INT8_MAX), np.finfo(np.float32).tiny).astype(np.float32)
        return {"delta": np.rint(delta / scale[:, None]).astype(np.int8), "scale": scale}
    return {"delta": delta}


def dequantise(tensors: Mapping[str, AnyArray]) -> Float32:
    """Inverse of `quantise`, as far as that goes. Raises RemoteError on anything it cannot have written."""
    delta, scale = tensors.get("delta"), tensors.get("scale")
    kinds = {np.dtype(np.float32): {"delta"}, np.dtype(np.float16): {"delta"}, np.dtype(np.int8): {"delta", "scale"}}
    if delta is None or set(tensors) != kinds.get(delta.dtype) or delta.ndim != 2:
        raise RemoteError(f"update holds tensors {listed(tensors)}; expected delta (C, d + 1), and scale (C,) for int8")
    if scale is not None and (scale.dtype != np.float32 or scale.shape != (len(delta),) or not (scale >= 0).all()):
        raise RemoteError(f"scale must be float32 ({len(delta)},), not negative; got {describe(scale)}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = delta.astype(np.float32) if scale is None else delta.astype(np.float32) * scale[:, None]
    if not np.isfinite(values).all():
        raise RemoteError("tensor delta holds values that are not finite")
    return np.asarray(values, np.float32)
