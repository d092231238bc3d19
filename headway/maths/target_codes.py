"""Targets as int8 codes beside the features, so that integer statistics hold all that a linear regression needs.

A target y is rounded to a whole number t of steps, and t is written as two digits to the base 255:

    t = round((y - offset) / scale) = 255 * high + low,     high, low in -127..127,     |t| <= 32,512

A row of statistics is then [features, highs, lows, known], all of them int8, and its Gram matrix (statistics.py) holds
the cross sums, sum q t = 255 sum q high + sum q low, the squares, sum t^2 = 255^2 sum high^2 + 510 sum high low + sum
low^2, and every count, as exact integers. No entry exceeds 127^2 a row, 2^54 for the 2^40 samples that statistics may
have, where squares of t themselves would overflow: 2^30 * 2^40. Whatever holds for statistics (sums in any order,
removal, checks of what comes from outside) holds for these. A target that is unknown has digits 0, and known 0 instead
of 1. Labels of 0 or 1 need one digit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Bools, Float32, Float64, Int8, describe
from headway.errors import LocalError
from headway.maths.features import CODE_MAX
from headway.maths.statistics import Statistics
from headway.maths.task import Task

# every row of such statistics is of this one class
WINDOWS = ("windows",)
BASE = 2 * CODE_MAX + 1
STEPS_MAX = BASE * CODE_MAX + CODE_MAX
# how far beyond the training data targets may go before they are clipped: deviations of theirs from the mean, of the
# farthest one at least and at most
SPREADS, REACH_MIN, REACH_MAX = 64.0, 2.0, 8.0
SCALE_MIN, SCALE_MAX = 1e-30, 1e30


@dataclass(frozen=True, slots=True, eq=False)
class TargetCodes:
    """How targets become codes. offset, scale: float32 (C,), the value of t = 0 and of a step; digits: 1 or 2."""

    offset: Float32
    scale: Float32
    digits: int

    def __post_init__(self) -> None:
        if self.offset.shape != self.scale.shape or self.offset.ndim != 1 or not len(self.offset):
            raise LocalError(
                f"target codes need offset and scale (C,), got {describe(self.offset)}, {describe(self.scale)}"
            )
        finite = np.isfinite(self.offset).all() and np.isfinite(self.scale).all()
        if not finite or not ((self.scale >= SCALE_MIN) & (self.scale <= SCALE_MAX)).all():
            raise LocalError(f"target scales must lie in {SCALE_MIN:g}..{SCALE_MAX:g} and offsets be finite")
        if self.digits not in (1, 2):
            raise LocalError(f"targets have 1 or 2 digits, not {self.digits}")

    @classmethod
    def fit(cls, targets: Float32, task: Task) -> TargetCodes:
        """For the targets of the training data, finite float32 (n, C). Raises LocalError where none can be coded."""
        outputs = targets.shape[1]
        if task is Task.MULTI_LABEL:
            half = np.full(outputs, 0.5, np.float32)
            return cls(half, np.full(outputs, 0.5 / CODE_MAX, np.float32), 1)
        values = targets.astype(np.float64)
        mean = values.mean(axis=0)
        deviation = np.abs(values - mean)
        farthest, spread = deviation.max(axis=0), values.std(axis=0)
        reach = np.clip(SPREADS * spread, REACH_MIN * farthest, REACH_MAX * farthest)
        reach = np.where(farthest > 0, reach, np.maximum(np.abs(mean), 1.0))
        return cls(mean.astype(np.float32), (reach / STEPS_MAX).astype(np.float32), 2)

    @property
    def outputs(self) -> int:
        return len(self.offset)

    @property
    def width(self) -> int:
        """Codes that a row has beside its features."""
        return (self.digits + 1) * self.outputs

    def part(self, outputs: AnyArray) -> TargetCodes:
        """Of some outputs. outputs: their columns, int (m,)."""
        return TargetCodes(self.offset[outputs], self.scale[outputs], self.digits)

    def space(self, features: str) -> str:
        """Fingerprint of feature space and targets together: such statistics add only where it is the same."""
        digest = hashlib.sha256(f"headway targets 1\n{features}\n{self.digits}\n".encode())
        for array in (self.offset, self.scale):
            digest.update(np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()

    def rows(self, codes: Int8, targets: Float32) -> Int8:
        """Rows of statistics. codes: int8 (n, d); targets: float32 (n, C), NaN where unknown -> int8 (n, d + width).

        What lies beyond the range is clipped.
        """
        known = ~np.isnan(targets)
        exact = (np.where(known, targets, self.offset).astype(np.float64) - self.offset) / self.scale.astype(np.float64)
        largest = STEPS_MAX if self.digits == 2 else CODE_MAX
        steps = np.rint(np.clip(exact, -largest, largest)).astype(np.int64)
        parts: list[AnyArray] = [codes]
        if self.digits == 2:
            high = (steps + CODE_MAX) // BASE  # the nearest multiple
            parts.append(high)
            steps = steps - BASE * high
        return np.concatenate([*parts, steps, known], axis=1).astype(np.int8)

    def targets(self, rows: Int8) -> Float64:
        """What rows say of the targets, rounded as they are: float64 (n, C), NaN where unknown."""
        count = self.outputs
        codes = rows[:, rows.shape[1] - self.width :].astype(np.float64)
        steps = codes[:, -2 * count : -count]
        if self.digits == 2:
            steps = steps + BASE * codes[:, :count]
        values: Float64 = self.offset.astype(np.float64) + self.scale.astype(np.float64) * steps
        values[codes[:, -count:] == 0] = np.nan
        return values

    def at_end(self, targets: Float64) -> Bools:
        """Which of what `targets` gave may have been farther out: it lies at an end of the range. float64 (n, C)."""
        steps = np.abs(targets - self.offset) / self.scale.astype(np.float64)
        return np.asarray(steps > (STEPS_MAX if self.digits == 2 else CODE_MAX) - 0.5)

    def statistics(self, codes: Int8, targets: Float32, space: str) -> Statistics:
        """Tables of labelled samples. Shapes as in `rows`."""
        return Statistics.of(self.rows(codes, targets), np.zeros(len(codes), np.int64), WINDOWS, space)

    def features_of(self, statistics: Statistics) -> Statistics:
        """The part that is about the features alone."""
        size = statistics.size - self.width
        keep = np.r_[0:size, statistics.size]
        return Statistics(
            np.ascontiguousarray(statistics.gram[np.ix_(keep, keep)]),
            np.ascontiguousarray(statistics.class_sums[keep]),
            statistics.classes,
            statistics.space,
        )

    def inconsistency(self, statistics: Statistics) -> str | None:
        """Why no rows of this form could have made these tables, beside `Statistics.inconsistency`; None when some
        could."""
        if statistics.classes != WINDOWS or statistics.size <= self.width:
            return f"they are of classes {list(statistics.classes)[:4]}, not {list(WINDOWS)}"
        gram, count = statistics.gram, self.outputs
        size = statistics.size - self.width
        end = statistics.size
        known = np.arange(end - count, end)
        counts = gram[known, -1]
        if (gram[known, known] != counts).any() or ((counts < 0) | (counts > statistics.samples)).any():
            return "known targets are not counted by zeros and ones"
        for digit in range(self.digits):
            at = np.arange(size + digit * count, size + (digit + 1) * count)
            if (gram[at, known] != gram[at, -1]).any():
                return "targets that are not known have digits"
            if (gram[at, at] > CODE_MAX**2 * counts).any():
                return "digits of targets are larger than any"
        if (np.abs(gram[:size, known]) > CODE_MAX * counts).any():
            return "codes are larger than any where targets are known"
        return None

    def moments(self, statistics: Statistics) -> TargetMoments:
        """The sums of a regression, from tables of `rows`."""
        count, end = self.outputs, statistics.size
        size = end - self.width
        gram = statistics.gram
        inputs = np.r_[0:size, end]
        lows, known = slice(end - 2 * count, end - count), slice(end - count, end)
        cross = gram[inputs, lows].copy()
        squares = np.diagonal(gram)[lows].astype(np.float64)
        if self.digits == 2:
            highs = np.arange(size, size + count)
            cross += BASE * gram[inputs][:, highs]  # at most 2^62, see above
            both = gram[highs, np.arange(size + count, size + 2 * count)].astype(np.float64)
            squares = squares + BASE**2 * np.diagonal(gram)[highs].astype(np.float64) + 2 * BASE * both
        return TargetMoments(
            gram[np.ix_(inputs, inputs)].astype(np.float64),
            gram[inputs, known].astype(np.float64),
            cross.astype(np.float64),
            squares,
        )


@dataclass(frozen=True, slots=True, eq=False)
class TargetMoments:
    """Sums over samples, in float64, each rounded once; targets t in steps, u = [codes, 1] with D = d + 1 values.

    gram: sum u u^T (D, D), of all; known: sum u (D, C), cross: sum u t (D, C), squares: sum t^2 (C,), of the samples of
    which the target is known.
    """

    gram: Float64
    known: Float64
    cross: Float64
    squares: Float64

    @property
    def samples(self) -> float:
        return float(self.gram[-1, -1])

    @property
    def counts(self) -> Float64:
        """Samples of which each target is known, float64 (C,)."""
        counts: Float64 = self.known[-1]
        return counts

    def gram_where_known(self, output: int) -> Float64:
        """sum u u^T over the samples of which a target is known, float64 (D, D).

        Exact where that is all or none of them. Else means and counts are, and the scatter around the mean is taken to
        be that of all samples: one Gram matrix serves every output, whatever is missing.
        """
        count, samples = float(self.counts[output]), self.samples
        if count == samples:
            return self.gram
        if not count:
            return np.zeros_like(self.gram)
        mean, own = self.gram[-1] / samples, self.known[:, output] / count
        result: Float64 = (count / samples) * (self.gram - samples * np.outer(mean, mean)) + count * np.outer(own, own)
        return result
