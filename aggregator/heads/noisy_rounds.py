"""Adds Gaussian noise to the sum of a round of averaging, and moves no head by noise alone.

Every device weighs the same, and its update is shortened to a length c whatever the others send. So what one device
changes, if it is there or not, is known exactly and needs nobody's word: the sum S by a vector no longer than c, the
number of devices n by 1, and h, how many more updates are no longer than c than are longer, halved, by 1/2. With one
multiplier z shared by the three (a Gaussian mechanism of sensitivity 1 and deviation z), `SHARE` = a of 1/z^2 for each
number:

    s_S = z c / sqrt(1 - 2 a)     s_n = z / sqrt(a)     s_h = z / (2 sqrt(a))
    since 1/z^2 = (c / s_S)^2 + (1 / s_n)^2 + (1/2 / s_h)^2

S is rounded to whole multiples of a unit, and so is the noise: then the result is Gaussian noise on whole numbers,
rounded, in which no last bit of a float64 tells of S (Mironov, CCS 2012). Rounding moves each of two sums by half a
unit in every entry at most; the unit is so small that c grows by `SLACK` for it.

All that follows is computed from the noisy S, n and h alone, and tells no more than these. The mean of a round is
m = S / n, n at least two deviations of its noise, whose squares sum up to v in the mean. How much of it moves the head
follows from all rounds so far. In their sum A, each over its v, the squares of the noise sum up to V, give or take
V sqrt(2 / D), and what updates have in common grows faster than the noise does:

    A = sum m / v    V = sum 1 / v    move by f m    f = max(0, min(1, 4 (|A|^2 / V - 1 - 3 sqrt(2 / D))))

So the head moves in full where what it learned is half as long as the noise that it took up, and too small a budget
makes no bad head, only one that stays where it was. The c of the next round goes to the median of the updates' lengths,
by (2 h / n)^2 octaves, one at most, and stays where h may be noise.

Sources: DP-FedAvg (McMahan et al., ICLR 2018) for the bound by device; Andrew et al., NeurIPS 2021, for c that follows
a quantile; Dwork & Roth 2014, appendix A, and Balle & Wang 2018 for the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.heads.noise import Normal, system_normal
from headway.arrays import Float64

SHARE = 1 / 16
# part of c that rounding adds to what one device reaches, of the sum's entries to a unit and of float64
SLACK = 2.0**-15
# the inverse of the share of the noise's square that what was learned has to have for a full step
FULL = 4.0


@dataclass(frozen=True, slots=True)
class Deviations:
    """Of the noise on each entry of the sum, on the number of devices, and on how many more are short."""

    total: float
    devices: float
    shorter: float

    @classmethod
    def of(cls, clip_norm: float, multiplier: float) -> Deviations:
        reach, number = clip_norm * (1 + SLACK), multiplier / SHARE**0.5
        return cls(multiplier * reach / (1 - 2 * SHARE) ** 0.5, number, number / 2)


@dataclass(frozen=True, slots=True)
class NoisySum:
    """What a round tells, all of it with noise. total: float64 (C, d + 1); devices: how many, which may be below zero;
    shorter: h, likewise; clip_norm: c."""

    total: Float64
    devices: int
    shorter: float
    clip_norm: float
    noise: Deviations

    @classmethod
    def of(
        cls, total: Float64, norms: Sequence[float], clip_norm: float, multiplier: float, normal: Normal | None = None
    ) -> NoisySum:
        """Of the exact sum of updates that were as long as `norms` before they were shortened to `clip_norm`.

        normal: so many standard normal numbers, by default of the system's generator.
        """
        noise, unit = Deviations.of(clip_norm, multiplier), unit_of(clip_norm, total.size)
        drawn = (normal or system_normal)(total.size + 2)
        units = np.rint(total / unit) + np.rint(drawn[:-2] * (noise.total / unit)).reshape(total.shape)
        devices = len(norms) + round(float(drawn[-2]) * noise.devices)
        more = sum(1 if norm <= clip_norm else -1 for norm in norms) + round(2 * float(drawn[-1]) * noise.shorter)
        return cls(units * unit, devices, more / 2, clip_norm, noise)

    @property
    def _divisor(self) -> float:
        return max(float(self.devices), 2 * self.noise.devices, 1.0)

    @property
    def mean(self) -> Float64:
        """What stands for the mean of the round, float64 (C, d + 1)."""
        found: Float64 = self.total / self._divisor
        return found

    @property
    def variance(self) -> float:
        """The sum of squares that the noise on the mean has in the mean."""
        return self.total.size * (self.noise.total / self._divisor) ** 2

    def next_clip_norm(self) -> float:
        """What the updates of the next round are shortened to, unless that is more than is allowed."""
        if abs(self.shorter) <= 2 * self.noise.shorter:
            return self.clip_norm
        more = min(max(2 * self.shorter / self._divisor, -1.0), 1.0)
        # squared, since a step in proportion would overshoot where all updates are about as long
        return self.clip_norm * math.pow(2.0, -more * abs(more))


@dataclass(frozen=True, slots=True)
class Evidence:
    """The sum of the means of all rounds so far, each over its variance, float64 (C, d + 1), and the sum of squares
    that its noise has in the mean. Before the first both are 0."""

    total: Float64
    variance: float

    def after(self, told: NoisySum) -> Evidence:
        """With one more round."""
        return Evidence(self.total + told.mean / told.variance, self.variance + 1 / told.variance)

    @property
    def share(self) -> float:
        """Of the last mean by which the head is to move, 0 to 1."""
        beyond = float(np.vdot(self.total, self.total)) / self.variance - 1.0 - 3.0 * math.sqrt(2.0 / self.total.size)
        return max(0.0, min(1.0, FULL * beyond))


def unit_of(clip_norm: float, size: int) -> float:
    """What sums of `size` entries are whole multiples of: a power of two, by which one vector is rounded by no more
    than half of `SLACK` times the clip norm."""
    return 2.0 ** math.floor(math.log2(clip_norm * SLACK / 2 / max(size, 1) ** 0.5))
