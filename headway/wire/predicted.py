"""Packed tables of version 1, as releases up to 0.2 have them: each value predicted, and the differences in Rice codes.

Of the tables of `headway.maths.statistics` with d codes, C classes, counts n_c, class sums B_c and Gram matrix G, the
sums travel first. G follows row by row, right of the diagonal, and features are alike: a class's mean tells of G, and
a row tells of the rows below it. Elimination carries that forward, in the order of the rows:

    P  =  sum_c B_c B_c^T / n_c              at first, what the class means explain
    P <-  P + s s^T / s_i,   s = G_i - P_i   once row i is known

so G_ij - round(P_ij) is what nothing before explains (the Schur complement), often a hundredth of G_ij. A value
of about 2^k costs k + 2 bits in a Rice code of parameter k (Rice and Plaunt 1971); k follows from the diagonal of
what is left. Multiplying, dividing and adding element by element in IEEE float64 has the same bits everywhere, so the
reader predicts as the writer did. The shortest of the packings, and by far the slowest (docs/adr/0073).
docs/protocol.md has the format.
"""

from __future__ import annotations

import struct

import numpy as np

from headway.arrays import AnyArray, Float64, Int64
from headway.errors import LocalError, RemoteError

VERSION = 1
HEADER = struct.Struct("<BI")
PARAMETER_MAX = 48
OFFSETS = 32
QUOTIENT_MAX = 1 << 13
# a row is carried forward while there is enough of it left to tell from rounding, and only so many of them
PIVOT_MIN, PIVOT_SHARE, PIVOTS_MAX = 256.0, 2.0**-24, 384
VALUE_MAX = 2.0**61
# 2^(k/8): where a number's logarithm passes the eighths
EIGHTHS = 2.0 ** (np.arange(8) / 8)


def pack_predicted(gram: Int64, class_sums: Int64) -> AnyArray:
    """gram: int64 (d + 1, d + 1) symmetric, class_sums: int64 (d + 1, C), as `Statistics` -> uint8 (m,).

    Raises LocalError for tables that no samples can have made.
    """
    size = len(gram) - 1
    diagonal = np.diagonal(gram)[:size].copy()
    sums_parameters, diagonal_parameter = _row_parameters(class_sums), _row_parameters(diagonal[None])
    left = _Left(diagonal, class_sums)
    offsets = np.zeros(size, np.uint8)
    values = [class_sums.reshape(-1), diagonal]
    parameters = [np.repeat(sums_parameters, class_sums.shape[1]), np.repeat(diagonal_parameter, size)]
    for row in range(size - 1):
        value = gram[row, row + 1 : size] - left.guess(row)
        offsets[row] = _best_offset(value, left.scales(row))
        values.append(value)
        parameters.append(_parameters(left.scales(row), offsets[row]))
        left.know(row, gram[row, row + 1 : size])
    unary, low = _rice(np.concatenate(values), np.concatenate(parameters))
    head = HEADER.pack(VERSION, len(unary)) + b"".join(p.tobytes() for p in (sums_parameters, diagonal_parameter))
    return np.frombuffer(head + offsets.tobytes() + unary + low, np.uint8)


def unpack_predicted(packed: AnyArray, size: int, classes: int) -> tuple[Int64, Int64]:
    """Inverse of `pack_predicted` for d = `size` and C = `classes`: gram (d + 1, d + 1), class_sums (d + 1, C).

    Whether samples can have made such tables is for the caller to ask (`Statistics.inconsistency`).
    Raises RemoteError on bytes that `pack_predicted` cannot have made.
    """
    if len(packed) < HEADER.size + 2 * size + 2:
        raise RemoteError(f"packed tables of {packed.size} bytes are shorter than their header for d = {size}")
    version, unary_bytes = HEADER.unpack_from(packed[: HEADER.size].tobytes())
    starts = np.cumsum([HEADER.size, size + 1, 1, size, unary_bytes])
    if version != VERSION or starts[-1] > len(packed):
        raise RemoteError(f"packed tables of version {version} with {unary_bytes} unary bytes do not fit their length")
    sums_parameters, diagonal_parameter, offsets, unary, low = np.split(packed[starts[0] :], starts[1:] - starts[0])
    if max(sums_parameters.max(), diagonal_parameter.max()) > PARAMETER_MAX or offsets.max() >= OFFSETS:
        raise RemoteError("packed tables hold a Rice parameter out of range")
    reader = _RiceReader(unary, low, (size + 1) * classes + size * (size + 1) // 2)
    class_sums = reader.take(np.repeat(sums_parameters, classes)).reshape(size + 1, classes)
    diagonal = reader.take(np.repeat(diagonal_parameter, size))
    left = _Left(diagonal, class_sums)
    gram = np.zeros((size + 1, size + 1), np.int64)
    # what nobody packed may overflow; `guess` refuses what comes of it
    with np.errstate(all="ignore"):
        for row in range(size - 1):
            guess = left.guess(row)
            gram[row, row + 1 : size] = guess + reader.take(_parameters(left.scales(row), offsets[row]))
            left.know(row, gram[row, row + 1 : size])
    reader.finish()
    gram += gram.T
    np.fill_diagonal(gram[:size, :size], diagonal)
    gram[-1] = class_sums.sum(axis=1)
    gram[:, -1] = gram[-1]
    return gram, class_sums


class _Left:
    """What is known so far explains this much of the rows below, and leaves that of the diagonal.

    What is explained is a sum of outer products, and a row of it is only asked for once: products are kept as their two
    factors (float64 (products, d) each), and summed row by row, in order.
    """

    def __init__(self, diagonal: Int64, class_sums: Int64) -> None:
        self._diagonal: Float64 = diagonal.astype(np.float64)
        self._left = self._diagonal.copy()
        size, counts = len(diagonal), class_sums[-1].astype(np.float64)
        sums = class_sums[:-1, counts > 0].T.astype(np.float64)
        self._products = len(sums)
        self._products_max = self._products + min(PIVOTS_MAX, size)
        self._factors: Float64 = np.zeros((self._products_max, size))
        self._shares: Float64 = np.zeros((self._products_max, size))
        self._factors[: len(sums)] = sums
        self._shares[: len(sums)] = sums / counts[counts > 0, None]
        for factor, share in zip(sums, self._shares, strict=False):
            self._left -= factor * share
        self._explained: Float64 = np.zeros(0)

    def guess(self, row: int) -> Int64:
        """Prediction of the row's values right of the diagonal, int64 (d - row - 1,)."""
        products = self._factors[: self._products, row, None] * self._shares[: self._products, row + 1 :]
        # over the outer axis NumPy adds one row after the other, so the order is that of the products
        self._explained = np.add.reduce(products, axis=0)
        if not (np.abs(self._explained) < VALUE_MAX).all():
            raise RemoteError("packed tables predict values out of range")
        return np.rint(self._explained).astype(np.int64)

    def scales(self, row: int) -> Int64:
        """8 log2 of the size that the row's values may have: the root of what is left in row and column."""
        eighths = _eighths(self._left[row:])
        return np.asarray((eighths[0] + eighths[1:]) // 2, np.int64)

    def know(self, row: int, values: Int64) -> None:
        """Carry a row forward, now that it is known, after `guess` of it."""
        pivot = float(self._left[row])
        if self._products >= self._products_max or pivot < PIVOT_MIN or pivot < PIVOT_SHARE * self._diagonal[row]:
            return
        below = slice(row + 1, None)
        factor, share = self._factors[self._products], self._shares[self._products]
        factor[below] = values.astype(np.float64) - self._explained
        share[below] = factor[below] / pivot
        self._left[below] -= factor[below] * share[below]
        self._products += 1


def _eighths(values: Float64) -> Int64:
    """floor(8 log2 x), exactly; 0 below 1. float64 (n,) -> int64 (n,)."""
    mantissa, exponent = np.frexp(np.maximum(values, 1.0))
    part = np.searchsorted(EIGHTHS, 2.0 * mantissa, side="right") - 1
    return np.asarray(8 * (exponent.astype(np.int64) - 1) + part, np.int64)


def _parameters(scales: Int64, offset: int) -> AnyArray:
    """Rice parameters, uint8 (n,): the scale, less half a bit for each step of the row's offset."""
    return np.asarray(np.clip((scales - 4 * int(offset)) >> 3, 0, PARAMETER_MAX), np.uint8)


def _best_offset(values: Int64, scales: Int64) -> int:
    """The offset that makes a row shortest, near the one that brings the mean scale to the values' own."""
    folded = _folded(values)
    mean = float(folded.sum(dtype=np.float64)) / len(folded)
    near = int((scales.mean() - 8 * np.log2(max(mean, 1.0))) / 4)
    best, best_bits = 0, np.inf
    # offset 0 last: the diagonal bounds every value, so its quotients are small however far the mean is off
    for offset in (*(o for o in range(near - 2, near + 5) if 0 < o < OFFSETS), 0):
        parameters = _parameters(scales, offset).astype(np.uint64)
        quotients = folded >> parameters
        bits = float((quotients + parameters).sum(dtype=np.float64))
        if bits < best_bits and int(quotients.max()) <= QUOTIENT_MAX:
            best, best_bits = offset, bits
    return best


def _row_parameters(table: Int64) -> AnyArray:
    """The Rice parameter that makes each row shortest, uint8 (rows,)."""
    folded = _folded(table)
    costs = [(folded >> np.uint64(k)).sum(axis=1, dtype=np.float64) + k * table.shape[1] for k in range(PARAMETER_MAX)]
    return np.asarray(np.argmin(costs, axis=0), np.uint8)


def _rice(values: Int64, parameters: AnyArray) -> tuple[bytes, bytes]:
    """Quotients in unary (so many zeros, then a one), and the low bits of every value, each padded to whole bytes."""
    folded, widths = _folded(values), parameters.astype(np.int64)
    quotients = (folded >> parameters.astype(np.uint64)).astype(np.int64)
    if ((quotients < 0) | (quotients > QUOTIENT_MAX)).any():
        raise LocalError("no samples can have made these tables, so they cannot be packed")
    ends = np.cumsum(quotients + 1)
    unary = np.zeros(int(ends[-1]), np.uint8)
    unary[ends - 1] = 1
    ends = np.cumsum(widths)
    low = np.zeros(int(ends[-1]), np.uint8)
    for bit in range(int(widths.max())):
        here = widths > bit
        low[ends[here] - 1 - bit] = (folded[here] >> np.uint64(bit)) & np.uint64(1)
    return np.packbits(unary).tobytes(), np.packbits(low).tobytes()


class _RiceReader:
    """Inverse of `_rice` for `count` values, some at a time. Raises RemoteError unless every bit has its place."""

    def __init__(self, unary: AnyArray, low: AnyArray, count: int) -> None:
        bits = np.unpackbits(unary)
        ends = np.flatnonzero(bits)
        if len(ends) != count or len(bits) - int(ends[-1]) > 8:
            raise RemoteError(f"packed tables hold {len(ends)} values where {count} are due")
        self._quotients = np.diff(ends, prepend=-1) - 1
        if int(self._quotients.max()) > QUOTIENT_MAX:
            raise RemoteError(f"packed tables hold a quotient above {QUOTIENT_MAX}")
        self._bits = 8 * len(low)
        # eight bytes from each byte on, so that a value is one look-up and two shifts
        padded = np.concatenate([low, np.zeros(8, np.uint8)]).astype(np.uint64)
        self._words = np.zeros(len(low) + 1, np.uint64)
        for byte in range(8):
            self._words |= padded[byte : byte + len(low) + 1] << np.uint64(56 - 8 * byte)
        self._value = self._bit = 0

    def take(self, parameters: AnyArray) -> Int64:
        """The next values, int64 (n,), given their parameters."""
        widths = parameters.astype(np.int64)
        ends = self._bit + np.cumsum(widths)
        if len(ends) and ends[-1] > self._bits:
            raise RemoteError("packed tables end in the middle of a value")
        starts = ends - widths
        aligned = self._words[starts >> 3] << (starts & 7).astype(np.uint64)
        # in two steps, because a shift by all 64 bits is none
        low = (aligned >> np.uint64(1)) >> (63 - widths).astype(np.uint64)
        quotients = self._quotients[self._value : self._value + len(widths)].astype(np.uint64)
        folded = (quotients << parameters.astype(np.uint64)) | low
        self._value += len(widths)
        self._bit = int(ends[-1]) if len(ends) else self._bit
        return np.asarray((folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64))

    def finish(self) -> None:
        """Nothing may be left but padding of zeros."""
        left = self._bits - self._bit
        if left > 7 or (left and int(self._words[self._bit >> 3] << np.uint64(self._bit & 7))):
            raise RemoteError(f"packed tables have {left} bits left over")


def _folded(values: Int64) -> AnyArray:
    """0, -1, 1, -2, ... -> 0, 1, 2, 3, ...; int64 -> uint64."""
    return np.asarray((values << 1) ^ (values >> 63), np.int64).view(np.uint64)
