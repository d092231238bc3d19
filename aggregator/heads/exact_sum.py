"""A sum of arrays of float64 that is the same to the bit in whatever order they come, and after some are taken out.

Each entry is cut into whole numbers of a few units, and these are added as integers of 64 bits:

    x = k_1 u_1 + k_2 u_2 + ...        u_1 = 2^-42 of the largest entry that may come, u_(i + 1) = 2^-41 u_i

Integers are added exactly, so neither order nor what was added and taken out again leaves a trace. What lies below the
last unit (2^-60 or less) is rounded off each array by itself. A million arrays of the largest entries fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from headway.arrays import Float64, Int64

ENTRY_BITS, UNIT_BITS = 42, 41
# exponent of the last unit at most, and fewest units
LAST_MAX, UNITS_MIN = -60, 2


class ExactSum:
    """Of arrays of one shape. reach: no absolute value in them is larger."""

    def __init__(self, shape: Sequence[int], reach: float) -> None:
        exponents = [math.frexp(reach)[1] - ENTRY_BITS]
        while exponents[-1] > LAST_MAX or len(exponents) < UNITS_MIN:
            exponents.append(exponents[-1] - UNIT_BITS)
        # added to a far smaller number they round it to whole units, which the last bits of the result then count
        self._rounders = [math.ldexp(1.5, 52 + exponent) for exponent in exponents]
        self._units = [math.ldexp(1.0, exponent) for exponent in exponents]
        self._sums: list[Int64] = [np.zeros(shape, np.int64) for _ in exponents]
        self._rounded = np.empty(shape)
        self._count = 0

    def add(self, part: Float64) -> None:
        """part is used up."""
        self._count += 1
        for total, whole in zip(self._sums, self._cut(part), strict=True):
            total += whole

    def subtract(self, part: Float64) -> None:
        """What was added before, made anew to the same bits; part is used up."""
        self._count -= 1
        for total, whole in zip(self._sums, self._cut(part), strict=True):
            total -= whole

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

    def _cut(self, part: Float64) -> Iterator[Int64]:
        """Of each unit: the bits of its rounder, plus how many units the entry has; valid until the next one."""
        for rounder in self._rounders:
            np.add(part, rounder, out=self._rounded)
            yield self._rounded.view(np.int64)
            if rounder is not self._rounders[-1]:
                self._rounded -= rounder
                part -= self._rounded

    def _bits_of(self, rounder: float) -> np.int64:
        """Those of the rounders that were added, modulo 2^64 as the sums are."""
        bits = self._count * int(np.float64(rounder).view(np.int64)) % (1 << 64)
        return np.uint64(bits).astype(np.int64)
