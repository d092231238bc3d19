"""Adds Gaussian noise to the sum of a round of averaging, and makes a mean of it that moves no head by noise alone.

Every device weighs the same, and its update is shortened to `clip_norm` whatever the others send. So what one device
changes, if it is there or not, is known exactly and needs nobody's word: the sum S by a vector no longer than c, and
the number of devices n by 1. With one multiplier z shared by both (a Gaussian mechanism of sensitivity 1 and deviation
z), `COUNT_SHARE` = a of 1 / z^2 for the number:

    s_S = z c / sqrt(1 - a)     s_n = z / sqrt(a)     since 1/z^2 = (c / s_S)^2 + (1 / s_n)^2

S is rounded to whole multiples of a unit, and so is the noise: then the result is Gaussian noise on whole numbers,
rounded, in which no last bit of a float64 tells of S (Mironov, CCS 2012). Rounding moves each of two sums by half a
unit in every entry at most; the unit is so small that c grows by `SLACK` for it.

All that follows is computed from the noisy S and n alone, and tells no more than these. The mean is S / n, made shorter
by how much of S is noise (after James & Stein 1961), n at least two deviations of its noise, and no longer than c:

    max(0, 1 - (D + 2 sqrt(2 D)) s_S^2 / |S|^2) S / max(n, 2 s_n)

Noise alone has |S|^2 = D s_S^2 with a deviation of sqrt(2 D) s_S^2. So too small a budget makes no bad head, only one
that stays where it was, but for one round of forty. Sources: DP-FedAvg (McMahan et al., ICLR 2018) for the bound by
device; Dwork & Roth 2014, appendix A, and Balle & Wang 2018 for the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aggregator.heads.noise import Normal, system_normal
from headway.arrays import Float64

COUNT_SHARE = 1 / 16
# part of c that rounding adds to what one device reaches, of the sum's entries to a unit and of float64
SLACK = 2.0**-15


@dataclass(frozen=True, slots=True)
class NoisySum:
    """What a round tells. total: float64 (C, d + 1); devices: how many, with noise, which may be below zero;
    deviations: of the noise on each entry of the one, and on the other; clip_norm: c."""

    total: Float64
    devices: int
    deviations: tuple[float, float]
    clip_norm: float

    @classmethod
    def of(
        cls, total: Float64, devices: int, clip_norm: float, multiplier: float, normal: Normal | None = None
    ) -> NoisySum:
        """Of the exact sum of updates that are no longer than `clip_norm`. normal: so many standard normal numbers, by
        default of the system's generator."""
        found = on_sum, on_count = deviations(clip_norm, multiplier)
        unit = unit_of(clip_norm, total.size)
        drawn = (normal or system_normal)(total.size + 1)
        noise = np.rint(drawn[:-1] * (on_sum / unit)).reshape(total.shape)
        counted = devices + round(float(drawn[-1]) * on_count)
        return cls((np.rint(total / unit) + noise) * unit, counted, found, clip_norm)

    def mean(self) -> Float64:
        """What stands for the mean of the round, float64 (C, d + 1)."""
        on_sum, on_count = self.deviations
        square = float(np.vdot(self.total, self.total))
        noise = (self.total.size + 2 * (2 * self.total.size) ** 0.5) * on_sum**2
        signal = 1.0 - noise / square if square else 0.0
        mean: Float64 = max(signal, 0.0) / max(self.devices, 2 * on_count, 1.0) * self.total
        length = float(np.linalg.norm(mean))
        return mean if length <= self.clip_norm else mean * (self.clip_norm / length)


def deviations(clip_norm: float, multiplier: float) -> tuple[float, float]:
    """Standard deviations of the noise on each entry of the sum, and on the number of devices."""
    return multiplier * clip_norm * (1 + SLACK) / (1 - COUNT_SHARE) ** 0.5, multiplier / COUNT_SHARE**0.5


def unit_of(clip_norm: float, size: int) -> float:
    """What sums of `size` entries are whole multiples of: a power of two, by which one vector is rounded by no more
    than half of `SLACK` times the clip norm."""
    return 2.0 ** math.floor(math.log2(clip_norm * SLACK / 2 / max(size, 1) ** 0.5))
