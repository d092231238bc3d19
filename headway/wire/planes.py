"""Whole numbers as byte planes: what the packings of tables write their values with.

Values are folded (0, -1, 1, -2, ... -> 0, 1, 2, 3, ...) and split into planes of their bytes, the lowest first. Planes
above the largest value are left out. A plane that is nearly noise travels as it is, any other one deflated: by Huffman
codes alone, which are as short as longer searches make it and read in a quarter of a millisecond, or with runs where it
is nearly empty.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from headway.arrays import AnyArray, Float64, Int64
from headway.errors import RemoteError

LENGTH = struct.Struct("<I")
PLANES_MAX = 8
# deflated where that saves so much of a plane
WORTH = 0.97
# and of a long one that is to be read quickly: inflating it takes a sixth of all reading (ADR 99)
WORTH_LONG, LONG = 0.875, 1 << 14
# bits a value of a plane below which runs pay
SPARSE_BITS = 1.5
RAW_DEFLATE = -15


def write_values(values: Int64, quick: bool = False, deflate: bool = True) -> bytes:
    """int64 (n,) -> the number of planes, then each with its length. quick: to read, for some more bytes. deflate: not
    worth it for some hundred, for whoever reads them quickly."""
    folded = ((values << 1) ^ (values >> 63)).view(np.uint64)
    count = -(-int(folded.max(initial=0)).bit_length() // 8)
    width = next(width for width in (1, 2, 4, 8) if count <= width)
    rows = folded.astype(f"<u{width}").view(np.uint8).reshape(len(values), width)
    worth = WORTH_LONG if quick and len(values) >= LONG else WORTH
    if deflate:
        planes = [_deflated(np.ascontiguousarray(rows[:, index]), worth) for index in range(count)]
    else:
        planes = [rows[:, index].tobytes() for index in range(count)]
    return bytes([count]) + b"".join(LENGTH.pack(len(plane)) + plane for plane in planes)


class ValueReader:
    """Reads what `write_values` wrote, table by table. Raises RemoteError unless every byte has its place."""

    def __init__(self, raw: bytes, start: int) -> None:
        self._raw, self._at = raw, start

    def take_bytes(self, count: int) -> bytes:
        """The next bytes, as they are."""
        taken = self._raw[self._at : self._at + count]
        if len(taken) != count:
            raise RemoteError(f"packed tables end after {len(self._raw)} bytes, in the middle of a value")
        self._at += count
        return taken

    def take(self, count: int) -> Int64:
        """The next table, int64 (count,)."""
        return self._take(count).astype(np.int64)

    def take_floats(self, count: int) -> Float64:
        """The next table, float64 (count,); beyond 2^53 these are not the values themselves."""
        return self._take(count).astype(np.float64)

    def _take(self, count: int) -> AnyArray:
        """The next table in the narrowest integers."""
        planes = self.take_bytes(1)[0]
        if planes > PLANES_MAX:
            raise RemoteError(f"packed tables hold values of {planes} bytes; at most {PLANES_MAX}")
        width = next(width for width in (1, 2, 4, 8) if planes <= width)
        # bytes of the values, the lowest first
        folded = np.zeros(count, f"<u{width}")
        content = folded.view(np.uint8).reshape(count, width)
        for index in range(planes):
            content[:, index] = self._plane(count)
        one = folded.dtype.type(1)
        # the sign is the lowest bit
        signs = np.negative(folded & one)
        folded >>= one
        folded ^= signs
        return folded.view(f"i{width}")

    def finish(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._raw):
            raise RemoteError(f"packed tables have {len(self._raw) - self._at} bytes left over")

    def _plane(self, count: int) -> AnyArray:
        length = LENGTH.unpack(self.take_bytes(LENGTH.size))[0]
        content = self.take_bytes(length)
        if length >= count:
            if length > count:
                raise RemoteError(f"packed tables hold a plane of {length} bytes for {count} values")
            return np.frombuffer(content, np.uint8)
        inflate = zlib.decompressobj(RAW_DEFLATE)
        try:
            plane = inflate.decompress(content, count + 1)
        except zlib.error as error:
            raise RemoteError(f"packed tables hold a plane that does not inflate: {error}") from error
        if len(plane) != count or not inflate.eof or inflate.unused_data:
            raise RemoteError(f"packed tables hold a plane that does not inflate to exactly {count} bytes")
        return np.frombuffer(plane, np.uint8)


def _deflated(plane: AnyArray, worth: float) -> bytes:
    """One plane, deflated where that makes it `worth` of its length, or shorter."""
    shares = np.bincount(plane, minlength=256) / max(len(plane), 1)
    bits = float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())
    if bits > 8 * worth:
        return plane.tobytes()
    strategy = zlib.Z_DEFAULT_STRATEGY if bits < SPARSE_BITS else zlib.Z_HUFFMAN_ONLY
    deflate = zlib.compressobj(6, zlib.DEFLATED, RAW_DEFLATE, 8, strategy)
    content = deflate.compress(plane.tobytes()) + deflate.flush()
    return content if len(content) < len(plane) else plane.tobytes()
