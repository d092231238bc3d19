"""Exact sums of paired losses: how much worse a new model is than an old one on the same labelled windows.

Losses are those of the gate, 0 to 2. A difference is rounded to whole steps of 2^-16, so that sums are integers: they
add in any order, and a device's part can be taken out again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.arrays import Float64

PAIRED_STEP = 2.0**-16
DIFFERENCE_MAX = 4.0
# windows of one device: its sums of squares stay below 2^53
COUNT_MAX = 1 << 16
STEPS_MAX = int(DIFFERENCE_MAX / PAIRED_STEP)


@dataclass(frozen=True, slots=True)
class PairedLoss:
    """Sums over windows of (new - old) in steps of 2^-16: how many, the sum, and the sum of squares."""

    count: int = 0
    total: int = 0
    squares: int = 0

    @classmethod
    def of(cls, new: Float64, old: Float64) -> PairedLoss:
        """Losses of the same windows, float64 (n,) each, finite. Differences beyond 4 count as 4."""
        steps = np.rint(np.clip(new - old, -DIFFERENCE_MAX, DIFFERENCE_MAX) / PAIRED_STEP).astype(np.int64)
        return cls(len(steps), int(steps.sum()), int((steps * steps).sum()))

    def __add__(self, other: PairedLoss) -> PairedLoss:
        return PairedLoss(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def inconsistency(self) -> str:
        """Why no windows can have made these sums; empty when some can."""
        if not 0 <= self.count <= COUNT_MAX:
            return f"{self.count} windows, at most {COUNT_MAX}"
        if abs(self.total) > STEPS_MAX * self.count or not 0 <= self.squares <= STEPS_MAX**2 * self.count:
            return f"sums of {self.count} windows are out of range"
        # Cauchy and Schwarz
        if self.total**2 > self.squares * self.count:
            return "the sum of squares is smaller than the sum allows"
        return ""
