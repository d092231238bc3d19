"""Rounds weight deltas to float16, or to int8 with one scale per class; the rounding error is returned to the caller.

Small numbers are commoner than large ones, so Huffman's code of the int8 ones (DEFLATE without matches, RFC 1951) takes
a sixth less room again, or more. It is a precision of its own: earlier aggregators refuse it by name.

    wanted = delta + residual;   sent = quantised(wanted);   residual <- wanted - sent

With this error feedback (Seide et al. 2014; Karimireddy et al., ICML 2019) what was sent adds up to what was learned,
but for one residual at the end.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, describe
from headway.errors import RemoteError, listed

INT8_MAX = 127
# float16 ends at 65504; what is larger travels as it is
FLOAT16_MAX = 60_000.0
# entries that a packed delta may have: as many as one of int8 that fits a message
PACKED_MAX = 128 * 1024


class Precision(StrEnum):
    """How a delta travels."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    PACKED = "int8-packed"


# of the tensors of an update that is not packed, by the type of `delta`; a dtype words its name anew each time
KINDS: Mapping[np.dtype[Any], Precision] = {
    np.dtype(np.float32): Precision.FLOAT32, np.dtype(np.float16): Precision.FLOAT16, np.dtype(np.int8): Precision.INT8
}  # fmt: skip
TENSORS = {Precision.FLOAT32: {"delta"}, Precision.FLOAT16: {"delta"}, Precision.INT8: {"delta", "scale"}}


def quantise(delta: Float32, precision: Precision) -> dict[str, AnyArray]:
    """The tensors that carry a delta, float32 (C, d + 1): ``delta``, and ``scale`` float32 (C,) for int8.

    Packed: ``packed`` uint8, a DEFLATE stream of the int8 rows, in place of ``delta``, where that is shorter.
    """
    largest = np.abs(delta).max(axis=1, initial=0.0)
    if precision is Precision.FLOAT16 and largest.max(initial=0.0) < FLOAT16_MAX:
        return {"delta": delta.astype(np.float16)}
    if precision in (Precision.INT8, Precision.PACKED):
        scale = np.maximum(largest / np.float32(INT8_MAX), np.finfo(np.float32).tiny).astype(np.float32)
        rounded = np.rint(delta / scale[:, None]).astype(np.int8)
        if precision is Precision.INT8 or rounded.size > PACKED_MAX:
            return {"delta": rounded, "scale": scale}
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_HUFFMAN_ONLY)
        stream = deflate.compress(rounded.tobytes()) + deflate.flush()
        if len(stream) >= rounded.size:
            return {"delta": rounded, "scale": scale}
        return {"packed": np.frombuffer(stream, np.uint8), "scale": scale}
    return {"delta": delta}


def precision_of(tensors: Mapping[str, AnyArray]) -> Precision:
    """How a delta that `dequantise` takes has travelled."""
    return Precision.PACKED if "packed" in tensors else KINDS[tensors["delta"].dtype]


def dequantise(tensors: Mapping[str, AnyArray]) -> Float32:
    """Inverse of `quantise`, as far as that goes. Raises RemoteError on anything it cannot have written."""
    tensors = _unpacked(tensors) if "packed" in tensors else tensors
    delta, scale = tensors.get("delta"), tensors.get("scale")
    kind = None if delta is None else KINDS.get(delta.dtype)
    if delta is None or kind is None or set(tensors) != TENSORS[kind] or delta.ndim != 2:
        raise RemoteError(f"update holds tensors {listed(tensors)}; expected delta (C, d + 1), and scale (C,) for int8")
    if scale is not None and (scale.dtype != np.float32 or scale.shape != (len(delta),) or not (scale >= 0).all()):
        raise RemoteError(f"scale must be float32 ({len(delta)},), not negative; got {describe(scale)}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = delta.astype(np.float32, copy=False) if scale is None else delta.astype(np.float32) * scale[:, None]
    if not np.isfinite(values).all():
        raise RemoteError("tensor delta holds values that are not finite")
    return np.asarray(values, np.float32)


def _unpacked(tensors: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """With the int8 rows in place of their stream. Raises RemoteError."""
    packed, scale = tensors["packed"], tensors.get("scale")
    if set(tensors) != {"packed", "scale"} or scale is None or scale.ndim != 1 or not len(scale):
        raise RemoteError(f"packed update holds tensors {listed(tensors)}; expected packed, and scale (C,)")
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise RemoteError(f"tensor packed must be uint8 (n,); got {describe(packed)}")
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        rows = inflate.decompress(packed.tobytes(), PACKED_MAX + 1)
    except zlib.error as error:
        raise RemoteError(f"packed update is no DEFLATE stream: {error}") from error
    if len(rows) > PACKED_MAX or not inflate.eof or inflate.unused_data or not rows or len(rows) % len(scale):
        shape = f"{len(scale)} rows, {PACKED_MAX} entries at most"
        raise RemoteError(f"packed update of {len(packed)} bytes is no whole stream of {shape}")
    return {"delta": np.frombuffer(rows, np.int8).reshape(len(scale), -1), "scale": scale}
