"""Times of rows that come at a rate, many at once, while some may be lost on their way."""

from __future__ import annotations

import math

import numpy as np

from headway.arrays import Float64
from headway.ports import Clock


class RateTimes:
    """Rows follow one another at the rate, until that is too far from the clock, as after some that were lost.

    gap_s: how far, or twice the time that rows of one call take.
    """

    def __init__(self, rate_hz: float, gap_s: float, clock: Clock) -> None:
        self._rate_hz, self._gap_s, self._clock = rate_hz, gap_s, clock
        self._next_s = math.nan

    def of(self, count: int) -> Float64:
        """float64 (count,), of rows of which the last one has just come."""
        now_s, span_s = self._clock.wall_s(), (count - 1) / self._rate_hz
        if not abs(self._next_s + span_s - now_s) <= max(self._gap_s, 2 * span_s):
            self._next_s = now_s - span_s
        times_s: Float64 = self._next_s + np.arange(count) / self._rate_hz
        self._next_s += count / self._rate_hz
        return times_s
