"""Encodes tensors as bytes: safetensors, with our metadata as one canonical JSON value.

safetensors keeps a string map of metadata whose order is not fixed; a single key makes equal content equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import safetensors.numpy

from headway.arrays import AnyArray, Float32, describe
from headway.errors import HeadwayError, listed
from headway.fields import canonical_json, parse_json

METADATA_KEY = "headway"
HEADER_BYTES_MAX = 1 << 16


def encode_tensors(tensors: Mapping[str, AnyArray], metadata: object = None) -> bytes:
    """Serialise named arrays, with an optional JSON value beside them."""
    extra = None if metadata is None else {METADATA_KEY: canonical_json(metadata).decode()}
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    return bytes(safetensors.numpy.save(contiguous, metadata=extra))


def decode_tensors(
    payload: bytes, where: str, error: type[HeadwayError], bytes_max: int
) -> tuple[dict[str, AnyArray], object]:
    """Inverse of `encode_tensors`: arrays by name, and the metadata value (None without one).

    Raises `error` on anything that is not a well-formed file of at most `bytes_max` bytes.
    """
    if len(payload) > bytes_max:
        raise error(f"{where} has {len(payload)} bytes; at most {bytes_max} are accepted")
    if len(payload) < 8 or not 2 <= (length := int.from_bytes(payload[:8], "little")) <= HEADER_BYTES_MAX:
        raise error(f"{where} is not a safetensors file: header length out of range")
    header = parse_json(payload[8 : 8 + length], f"{where} header", error, HEADER_BYTES_MAX)
    try:
        arrays = safetensors.numpy.load(payload)
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as problem:
        raise error(f"{where} is not a safetensors file: {problem}") from problem
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    value = parse_json(text.encode(), f"{where} metadata", error) if isinstance(text, str) else None
    return dict(arrays), value


class TensorTable:
    """Decoded tensors being read: every tensor of its type and shape, none left over. `error`: family to raise."""

    def __init__(self, loaded: Mapping[str, AnyArray], error: type[HeadwayError]) -> None:
        self._left = dict(loaded)
        self._error = error

    def take(self, name: str) -> AnyArray:
        if name not in self._left:
            raise self._error(f"tensor {name} is missing")
        return self._left.pop(name)

    def float32(self, name: str, shape: tuple[int, ...]) -> Float32:
        array = self.take(name)
        fits = array.ndim == len(shape) and all(s in (-1, a) for s, a in zip(shape, array.shape, strict=True))
        if array.dtype != np.float32 or not fits or not np.isfinite(array).all():
            raise self._error(f"tensor {name} must be finite float32 {shape}, got {describe(array)}")
        return array

    def optional(self, name: str) -> Float32 | None:
        if name not in self._left:
            return None
        return self.float32(name, (-1,) * self._left[name].ndim)

    def maybe(self, name: str) -> AnyArray | None:
        return self._left.pop(name, None)

    def finish(self) -> None:
        if self._left:
            raise self._error(f"unknown tensors {listed(self._left)}")
