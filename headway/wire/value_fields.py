"""Whole numbers in as many bits as nearly all of them take: what a table is written with that is to be read quickly.

Values are written as numbers of b bits, cut into fields of 16, 8, 4, 2 and 1 bits: those that add up to b, the lowest
bits in the widest. Nothing is inflated, and a field is put in its place by a shift of a whole array. Of the few values
that do not fit, what is missing is in a list of its own. For values that spread like noise this is within a few per
cent of Huffman's code.
"""

from __future__ import annotations

import numpy as np

from headway.arrays import AnyArray, Float64, Int64
from headway.errors import RemoteError
from headway.wire.planes import ValueReader, write_values

# places are told by their distance from the last multiple of it before them: a byte, as is how many there are
CHUNK = 255
WIDTHS = (16, 8, 4, 2, 1)
BITS_MAX = sum(WIDTHS)
# of one that does not fit: where it is, and what is missing; and how many may be so
BYTES_BESIDE, SHARE_BESIDE = 1.1, 0.1
# what may be paid in bytes for quicker reading: of all for a field less, and for each that fits
WORTH_A_FIELD, WORTH_FITTING = 0.012, 0.4


def fitting_bits(values: Int64, quick: bool = True) -> tuple[int, float]:
    """Bits a value, 1 to 31, that make int64 (n,) shortest, or nearly so and quicker to read, and the bytes that come
    of it, as near as is known before writing. quick: to read."""
    largest = np.maximum(values, ~values).astype(np.float64)
    # bits without the sign; rounding to float64 may only make one more of them
    needed = np.bincount(np.frexp(largest)[1], minlength=BITS_MAX + 1)
    beside = len(values) - np.cumsum(needed)[:BITS_MAX]
    lengths = len(values) * np.arange(1, BITS_MAX + 1) / 8 + BYTES_BESIDE * beside + _chunks(len(values))
    lengths[:-1][beside[:-1] > SHARE_BESIDE * len(values)] = np.inf
    fields = np.array([len(_widths(bits)) for bits in range(1, BITS_MAX + 1)])
    prices = lengths * (1.0 + WORTH_A_FIELD * fields) + WORTH_FITTING * beside
    best = int(np.argmin(prices if quick else lengths))
    return best + 1, float(lengths[best])


def write_fields(values: Int64, bits: int) -> bytes:
    """int64 (n,) -> the number of bits, the fields, and what does not fit in them."""
    half = np.int64(1 << (bits - 1))
    shifted = values + half
    beside = shifted >> np.int64(bits)
    low = (shifted & np.int64((1 << bits) - 1)).astype(np.uint32)
    content = [bytes([bits])]
    for width in _widths(bits):
        content.append(_field_bytes(low & np.uint32((1 << width) - 1), width))
        low = low >> np.uint32(width)
    places = np.flatnonzero(beside)
    each = np.bincount(places // CHUNK, minlength=_chunks(len(values)))
    content += [each.astype(np.uint8).tobytes(), (places % CHUNK).astype(np.uint8).tobytes()]
    return b"".join(content) + write_values(beside[places])


def read_fields(reader: ValueReader, count: int) -> Float64:
    """The next table of `write_fields`, float64 (count,). Raises RemoteError on bytes that it cannot have made."""
    bits = reader.take_bytes(1)[0]
    if not 1 <= bits <= BITS_MAX:
        raise RemoteError(f"packed tables hold values of {bits} bits; 1 to {BITS_MAX} are read")
    kind = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    low: AnyArray | None = None
    at = 0
    for width in _widths(bits):
        field = _read_field(reader, count, width)
        low = field.astype(kind) if low is None else low | np.left_shift(field, kind(at), dtype=kind)
        at += width
    assert low is not None
    values: Float64 = low.astype(np.float64)
    values -= float(1 << (bits - 1))
    each = np.frombuffer(reader.take_bytes(_chunks(count)), np.uint8).astype(np.int64)
    some = int(each.sum())
    if some > count:
        raise RemoteError(f"packed tables hold {some} long ones of {count} values")
    places, within = np.repeat(CHUNK * np.arange(len(each)), each), np.frombuffer(reader.take_bytes(some), np.uint8)
    places += within
    beside = reader.take_floats(some)
    if some:
        placed = (places[1:] > places[:-1]).all() and int(places[-1]) < count and int(within.max()) < CHUNK
        if not placed or not beside.all():
            raise RemoteError("packed tables hold long values that have no place, or are not long")
        values[places] += beside * float(1 << bits)
    return values


def _chunks(count: int) -> int:
    return -(-count // CHUNK)


def _widths(bits: int) -> list[int]:
    return [width for width in WIDTHS if bits & width]


def _field_bytes(low: AnyArray, width: int) -> bytes:
    """uint32 (n,), each below 2^width."""
    if width >= 8:
        return low.astype(f"<u{width // 8}").tobytes()
    together = 8 // width
    packed = np.zeros(-(-len(low) // together), np.uint8)
    for place in range(together):
        part = low[place * len(packed) : (place + 1) * len(packed)].astype(np.uint8)
        packed[: len(part)] |= part << np.uint8(place * width)
    return packed.tobytes()


def _read_field(reader: ValueReader, count: int, width: int) -> AnyArray:
    if width >= 8:
        return np.frombuffer(reader.take_bytes(count * width // 8), f"<u{width // 8}")
    together = 8 // width
    length = -(-count // together)
    packed = np.frombuffer(reader.take_bytes(length), np.uint8)
    field = np.empty((together, length), np.uint8)
    for place in range(together):
        np.right_shift(packed, place * width, out=field[place])
    field &= np.uint8((1 << width) - 1)
    flat = field.reshape(-1)
    if flat[count:].any():
        raise RemoteError("packed tables hold bits behind the last value")
    return flat[:count]
