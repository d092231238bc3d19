"""A sum of arrays of float64 that is the same to the bit in whatever order they come, and after some are taken out.

Each entry is cut into whole numbers of a few units, and these are added as integers of 64 bits:

    x = k_1 u_1 + k_2 u_2 + ...        u_1 = 2^-42 of the largest entry that may come, u_(i + 1) = 2^-41 u_i

Integers are added exactly, so neither order nor what was added and taken out again leaves a trace. What lies below the
last unit (2^-60 or less) is rounded off each array by itself. A million arrays of the largest entries fit.

Why each k is exact, whatever came before: with r = 1.5 2^52 u and |x| < 2^51 u, x + r lies between 2^52 u and 2^53 u,
where float64 has the multiples of u and no others. So x + r is r + k u with k = round(x / u), ties to the even k, its
bits as an integer are those of r plus k, and (x + r) - r = k u. What is left, x - k u, is no more than u / 2 and a
multiple of the last bit of x, so float64 holds it. Here |x| <= 2^42 u_1, and then |x| <= u_i / 2 = 2^40 u_(i + 1). The
bits of r that were added n times are n times those, modulo 2^64, in which a million times 2^42 have place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headway.arrays import Float32, Float64, Int64

ENTRY_BITS, UNIT_BITS = 42, 41
# exponent of the last unit at most, and fewest units
LAST_MAX, UNITS_MIN = -60, 2
# bytes of a line of the processor's cache
LINE = 64


def aligned(shape: Sequence[int]) -> Float64:
    """Zeros at the start of a cache line, where processors go through them some 15 % faster."""
    size = 8 * math.prod(shape)
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(np.float64).reshape(shape)


class ExactSum:
    """Of arrays of one shape. reach: no absolute value in them is larger."""

    def __init__(self, shape: Sequence[int], reach: float) -> None:
        exponents = [math.frexp(reach)[1] - ENTRY_BITS]
        while exponents[-1] > LAST_MAX or len(exponents) < UNITS_MIN:
            exponents.append(exponents[-1] - UNIT_BITS)
        # added to a far smaller number they round it to whole units, which the last bits of the result then count
        self._rounders = [np.array(math.ldexp(1.5, 52 + exponent)) for exponent in exponents]
        self._units = [math.ldexp(1.0, exponent) for exponent in exponents]
        self._sums: list[Int64] = [aligned(shape).view(np.int64) for _ in exponents]
        # made once: each array that is added would be allocated, and its pages faulted in, anew
        self._part, self._rounded = aligned(shape), aligned(shape)
        self._count = 0

    def add(self, part: Float32 | Float64, factor: float = 1.0) -> None:
        """part times factor, a product of float64."""
        self._count += 1
        self._cut(part, factor, np.add)

    def subtract(self, part: Float32 | Float64, factor: float = 1.0) -> None:
        """What was added before, made anew to the same bits."""
        self._count -= 1
        self._cut(part, factor, np.subtract)

    def clear(self) -> None:
        """Nothing was added."""
        self._count = 0
        for total in self._sums:
            total[:] = 0

    def value(self) -> Float64:
        """The sum, rounded to float64."""
        found = np.zeros(self._rounded.shape)
        for total, rounder, unit in zip(self._sums[::-1], self._rounders[::-1], self._units[::-1], strict=True):
            found += (total - self._bits_of(rounder)) * unit
        return found

    def _cut(self, part: Float32 | Float64, factor: float, count: np.ufunc) -> None:
        """Count, of each unit, the bits of its rounder plus how many units the entries have."""
        rest, rounded, bits = self._part, self._rounded, self._rounded.view(np.int64)
        np.copyto(rest, part)
        if factor != 1.0:
            np.multiply(rest, factor, out=rest)
        for total, rounder in zip(self._sums[:-1], self._rounders, strict=False):
            np.add(rest, rounder, out=rounded)
            count(total, bits, out=total)
            np.subtract(rounded, rounder, out=rounded)
            np.subtract(rest, rounded, out=rest)
        # nothing is left to be cut
        np.add(rest, self._rounders[-1], out=rest)
        count(self._sums[-1], rest.view(np.int64), out=self._sums[-1])

    def _bits_of(self, rounder: Float64) -> np.int64:
        """Those of the rounders that were added, modulo 2^64 as the sums are."""
        bits = self._count * int(rounder.view(np.int64)) % (1 << 64)
        return np.uint64(bits).astype(np.int64)
