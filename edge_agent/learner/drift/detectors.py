"""Detects changes in a stream of numbers: bounded memory, no clock, no chance; the same stream, the same answers.

Both look for a *rise* of the mean. A mean that falls is a learner that learns, which needs no alarm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from headway.arrays import Float64
from headway.errors import StoreError

# buckets of one size before two of them become one of twice the size
ROW_BUCKETS = 5
SIDE_MIN = 5
WIDTH_MIN = 10
ROWS_MAX = 40


@dataclass(frozen=True, slots=True)
class Rise:
    """The mean went up. ago: how many of the newest values lie after the change; before, after: the two means."""

    ago: int
    before: float
    after: float


class Detector(Protocol):
    """Takes values one by one."""

    def add(self, value: float) -> Rise | None:
        """Take in one value in [0, 1]; the change that it gives away, if any."""
        ...

    def state(self) -> Float64:
        """Everything `restore` needs, float64."""
        ...

    def restore(self, state: Float64) -> None:
        """Inverse of `state`. Raises StoreError."""
        ...


@dataclass(slots=True)
class _Bucket:
    """`count` values: their sum, and the sum of their squared deviations from their own mean."""

    count: int
    total: float
    spread: float

    def joined(self, other: _Bucket) -> _Bucket:
        if not self.count or not other.count:
            return other if not self.count else self
        count, gap = self.count + other.count, self.total / self.count - other.total / other.count
        between = gap * gap * self.count * other.count / count
        return _Bucket(count, self.total + other.total, self.spread + other.spread + between)


class Adwin:
    """Adaptive windowing: the longest window of newest values in which no two parts differ in their means.

    A window of n values is cut into n0 older and n1 newer ones wherever

        |mean0 - mean1| > sqrt(2 m v d) + 2/3 m d,   m = 1/n0 + 1/n1,  d = ln(2 ln(n) / delta)

    with v the variance in the window; m counts each side `SIDE_MIN - 1` shorter. Sums lie in an exponential
    histogram, so n values need O(log n) memory. Bifet & Gavalda, Learning from time-changing data with adaptive
    windowing, SDM 2007. They drop values until no cut is left; here all values before the strongest cut go at once,
    since it is also the estimate of where the change lies. delta: about the chance of a false alarm; every: values
    between two looks.
    """

    def __init__(self, delta: float = 0.002, every: int = 8) -> None:
        self._delta, self._every = delta, every
        # rows[i] holds buckets of 2**i values, the oldest first
        self._rows: list[list[_Bucket]] = [[]]
        self._whole = _Bucket(0, 0.0, 0.0)
        self._ticks = 0

    @property
    def width(self) -> int:
        """Values in the window."""
        return self._whole.count

    @property
    def mean(self) -> float:
        return self._whole.total / self._whole.count if self._whole.count else 0.0

    def add(self, value: float) -> Rise | None:
        self._ticks += 1
        one = _Bucket(1, value, 0.0)
        self._rows[0].append(one)
        self._whole = self._whole.joined(one)
        self._compress()
        if self._ticks % self._every or self.width <= WIDTH_MIN:
            return None
        cut = self._strongest_cut()
        if cut is None:
            return None
        while self.width > cut.ago:
            self._drop_oldest()
        return cut if cut.after > cut.before else None

    def state(self) -> Float64:
        rows = [[float(i), b.total, b.spread] for i, row in enumerate(self._rows) for b in row]
        head = [float(self._ticks), self._whole.total, self._whole.spread]
        return np.array([head, *rows], np.float64)

    def restore(self, state: Float64) -> None:
        if state.ndim != 2 or state.shape[1] != 3 or not len(state) or not np.isfinite(state).all():
            raise StoreError("saved window of the drift detector is damaged")
        rows: list[list[_Bucket]] = [[]]
        for exponent, total, spread in state[1:].tolist():
            if not 0 <= exponent < ROWS_MAX:
                raise StoreError("saved window of the drift detector is damaged")
            while len(rows) <= exponent:
                rows.append([])
            rows[int(exponent)].append(_Bucket(1 << int(exponent), total, spread))
        self._ticks, self._rows = int(state[0, 0]), rows
        self._whole = _Bucket(sum(b.count for b in self._oldest_first()), float(state[0, 1]), float(state[0, 2]))

    def _oldest_first(self) -> Iterator[_Bucket]:
        for row in reversed(self._rows):
            yield from row

    def _compress(self) -> None:
        for i, row in enumerate(self._rows):
            if len(row) <= ROW_BUCKETS:
                return
            if i + 1 == len(self._rows):
                self._rows.append([])
            self._rows[i + 1].append(row.pop(0).joined(row.pop(0)))

    def _strongest_cut(self) -> Rise | None:
        """Where the two means differ most beyond what chance allows, in units of that; None where they nowhere do."""
        width, total, strongest, excess = self.width, self._whole.total, None, 1.0
        confidence = math.log(2.0 * math.log(width) / self._delta)
        variance = self._whole.spread / width
        count0, total0 = 0, 0.0
        for bucket in self._oldest_first():
            count0, total0 = count0 + bucket.count, total0 + bucket.total
            count1 = width - count0
            if count1 < SIDE_MIN:
                break
            if count0 < SIDE_MIN:
                continue
            mean0, mean1 = total0 / count0, (total - total0) / count1
            share = 1.0 / (count0 - SIDE_MIN + 1) + 1.0 / (count1 - SIDE_MIN + 1)
            chance = math.sqrt(2.0 * share * variance * confidence) + 2.0 / 3.0 * confidence * share
            if abs(mean0 - mean1) > excess * chance:
                strongest, excess = Rise(count1, mean0, mean1), abs(mean0 - mean1) / chance
        return strongest

    def _drop_oldest(self) -> None:
        oldest = self._rows[-1].pop(0)
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()
        count, total = self.width - oldest.count, self._whole.total - oldest.total
        gap = oldest.total / oldest.count - total / count
        spread = self._whole.spread - oldest.spread - gap * gap * oldest.count * count / (oldest.count + count)
        self._whole = _Bucket(count, total, max(0.0, spread))


class PageHinkley:
    """A cumulative sum of how far values lie above their running mean, against its lowest point so far.

        S_t = alpha S_{t-1} + x_t - mean_t - delta;   alarm when S_t - min S > threshold

    Page, Continuous inspection schemes, Biometrika 1954; Hinkley, Biometrika 1971. delta: a rise that is tolerated;
    threshold: evidence that is needed; alpha: forgets slowly. It starts anew after an alarm.
    """

    def __init__(
        self, delta: float = 0.05, threshold: float = 15.0, alpha: float = 0.9999, values_min: int = 30
    ) -> None:
        self._delta, self._threshold, self._alpha, self._values_min = delta, threshold, alpha, values_min
        self._count = self._lowest_at = 0
        self._total = self._sum = self._lowest_total = 0.0
        self._lowest = math.inf

    def add(self, value: float) -> Rise | None:
        self._count += 1
        self._total += value
        mean = self._total / self._count
        self._sum = self._alpha * self._sum + value - mean - self._delta
        if self._sum < self._lowest:
            self._lowest, self._lowest_at, self._lowest_total = self._sum, self._count, self._total
        if self._count < self._values_min or self._sum - self._lowest <= self._threshold:
            return None
        ago = self._count - self._lowest_at
        before = self._lowest_total / self._lowest_at if self._lowest_at else 0.0
        rise = Rise(ago, before, (self._total - self._lowest_total) / ago)
        self._start()
        return rise

    def state(self) -> Float64:
        return np.array(
            [self._count, self._total, self._sum, self._lowest, self._lowest_at, self._lowest_total], np.float64
        )

    def restore(self, state: Float64) -> None:
        if state.shape != (6,) or not np.isfinite(state[[0, 1, 2, 4, 5]]).all():
            raise StoreError("saved sums of the drift detector are damaged")
        count, self._total, self._sum, self._lowest, lowest_at, self._lowest_total = state.tolist()
        self._count, self._lowest_at = int(count), int(lowest_at)

    def _start(self) -> None:
        self._count = self._lowest_at = 0
        self._total = self._sum = self._lowest_total = 0.0
        self._lowest = math.inf
