"""Times of rows that come at a rate, in pieces of whatever size, while some may be lost on their way."""

from __future__ import annotations

import math

import numpy as np

from headway.arrays import Float64
from headway.ports import Clock

# what a sensor's own oscillator may be off: so much do rows stretch, to follow the clock within about a second, or by
# the end of those that come at once where they take longer
STRETCH_MAX, FOLLOWED_S = 0.1, 1.0


class RateTimes:
    """Rows follow one another at the rate, until that is too far from the clock, as after some that were lost.

    gap_s: how far, or twice the time that rows of one call take. follows: of a sensor on this machine, whose oscillator
    makes a little more or less of the rate; what comes over a network wavers more than that.
    """

    def __init__(self, rate_hz: float, gap_s: float, clock: Clock, *, follows: bool = False) -> None:
        self._period_s, self._gap_s, self._clock = 1.0 / rate_hz, gap_s, clock
        self._stretch_max = STRETCH_MAX if follows else 0.0
        self._next_s = math.nan

    def of(self, count: int) -> Float64:
        """float64 (count,), of rows of which the last one has just come."""
        now_s, span_s = self._clock.wall_s(), (count - 1) * self._period_s
        late_s, stretch = now_s - (self._next_s + span_s), 0.0
        followed_s = max(FOLLOWED_S, count * self._period_s)
        if abs(late_s) <= max(self._gap_s, 2 * span_s):
            stretch = max(-self._stretch_max, min(self._stretch_max, late_s / followed_s))
        else:
            self._next_s = now_s - span_s
        step_s = self._period_s * (1.0 + stretch)
        times_s: Float64 = self._next_s + step_s * np.arange(count, dtype=np.float64)
        self._next_s += step_s * count
        return times_s
