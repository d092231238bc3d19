"""Encodes tensors as bytes: safetensors, with our metadata as one canonical JSON value.

safetensors keeps a string map of metadata whose order is not fixed; a single key makes equal content equal bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy

from headway.arrays import AnyArray, Float32, describe
from headway.errors import HeadwayError, listed
from headway.fields import canonical_json, parse_json

METADATA_KEY = "headway"
FILE_METADATA, ENTRY_KEYS = "__metadata__", {"dtype", "shape", "data_offsets"}
OFFSET_MAX, DIMENSIONS_MAX = 1 << 53, 32
DTYPES = {
    name: np.dtype(kind)
    for name, kind in {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
        "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    }.items()
}  # fmt: skip
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
    header, start = _header(payload, where, error, bytes_max)
    return _views(payload, start, header, where, error), _metadata(header, where, error)


def decode_arrays(payload: bytes, where: str, error: type[HeadwayError], bytes_max: int) -> dict[str, AnyArray]:
    """The arrays alone; of the metadata nothing is looked at."""
    header, start = _header(payload, where, error, bytes_max)
    return _views(payload, start, header, where, error)


def decode_metadata(payload: bytes, where: str, error: type[HeadwayError], bytes_max: int) -> object:
    """The metadata value alone; of the arrays nothing is looked at."""
    header, _ = _header(payload, where, error, bytes_max)
    return _metadata(header, where, error)


def _header(payload: bytes, where: str, error: type[HeadwayError], bytes_max: int) -> tuple[dict[str, object], int]:
    """The header, and where the arrays begin."""
    if len(payload) > bytes_max:
        raise error(f"{where} has {len(payload)} bytes; at most {bytes_max} are accepted")
    if len(payload) < 8 or not 2 <= (length := int.from_bytes(payload[:8], "little")) <= HEADER_BYTES_MAX:
        raise error(f"{where} is not a safetensors file: header length out of range")
    header = parse_json(payload[8 : 8 + length], f"{where} header", error, HEADER_BYTES_MAX)
    if not isinstance(header, dict) or payload[8:9] != b"{":
        raise error(f"{where} is not a safetensors file: its header is no table")
    return header, 8 + length


def _metadata(header: dict[str, object], where: str, error: type[HeadwayError]) -> object:
    metadata = header.get(FILE_METADATA)
    text = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    return parse_json(text.encode(), f"{where} metadata", error) if isinstance(text, str) else None


def _views(
    payload: bytes, start: int, header: dict[str, object], where: str, error: type[HeadwayError]
) -> dict[str, AnyArray]:
    """Each array where it lies in the payload, not copied and not to be written to.

    As the library reads them, which copies each twice: every byte belongs to exactly one array.
    """
    arrays, spans = {}, []
    for name, entry in header.items():
        if name == FILE_METADATA:
            if not isinstance(entry, dict) or not all(isinstance(text, str) for text in entry.values()):
                raise error(f"{where} is not a safetensors file: its metadata are no texts")
            continue
        dtype, shape, (begin, end) = _entry(name, entry, where, error)
        count = math.prod(shape)
        if end - begin != count * dtype.itemsize or start + end > len(payload):
            raise error(f"{where} is not a safetensors file: tensor {name[:80]} does not have the bytes of its shape")
        arrays[name] = np.frombuffer(payload, dtype, count, start + begin if count else 0).reshape(shape)
        spans.append((begin, end))
    reached = 0
    for begin, end in sorted(spans):
        if begin != reached:
            raise error(f"{where} is not a safetensors file: tensors overlap, or leave a hole")
        reached = end
    if start + reached != len(payload):
        raise error(f"{where} is not a safetensors file: {len(payload) - start - reached} bytes are left over")
    return arrays


def _entry(
    name: str, entry: object, where: str, error: type[HeadwayError]
) -> tuple[np.dtype[Any], tuple[int, ...], tuple[int, int]]:
    """What the header says of one tensor: its type, its shape, where it begins and ends."""
    if isinstance(entry, dict) and entry.keys() == ENTRY_KEYS:
        kind, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
        if isinstance(kind, str) and kind in DTYPES and isinstance(shape, list) and isinstance(span, list):
            numbers = [*shape, *span]
            whole = all(type(number) is int and 0 <= number <= OFFSET_MAX for number in numbers)
            if whole and len(span) == 2 and len(shape) <= DIMENSIONS_MAX:
                return DTYPES[kind], tuple(shape), (span[0], span[1])
    raise error(f"{where} is not a safetensors file: tensor {name[:80]} is described by {repr(entry)[:80]}")


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
