"""Detects drift by features: do windows still look like the data that the model was built from? Needs no label.

Per window: the distance to the nearest class mean of the source, in units of the source's spread within classes,

    D = min_c mean_j (q_j - m_cj)^2 / v_j        about 1 on the source's own data

so that a change of activity is no drift, but a sensor that moved, aged or died is. Windows are taken in blocks, whose
means of ln D, and shares of codes at the clipping limit, are watched by cumulative sums (Page 1954) against what
they were on this device before: every device differs from the source a little, and that alone is no news.
Variances by feature instead of a full covariance need no inverse, so nothing here can be ill-conditioned.

Not part of the learner's state: it sees every window, labelled or not, and its alarms ask and report, no more.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Self

import numpy as np

from headway.arrays import Float64, Int8
from headway.durable import checked, unchecked
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.maths import CODE_MAX, Statistics

BLOCK_ROWS = 32
BASELINE_BLOCKS = 64
RECENT_BLOCKS = 8
# a code is rounded: below this variance a difference says nothing
VARIANCE_MIN = 1.0 / 12
DISTANCE_MIN = 1e-3
# smallest standard deviations that count: of ln D, and of a share
SPREAD_MIN, SHARE_SPREAD_MIN = 0.05, 0.005
# in standard deviations of a block: what is tolerated, the evidence that is needed, and the most one block can give
ALLOWANCE, THRESHOLD, BLOCK_MAX = 1.0, 8.0, 4.0


@dataclass(frozen=True, slots=True)
class Shift:
    """An alarm. window: how many windows had been seen; by: ``distance`` or ``clipped``.

    distance, clipped: D and the share of clipped codes over the blocks that gave it away, at most the newest eight;
    ..._before: as they were on this device.
    mean_shift: root mean square over features of (recent mean - source mean) / source deviation;
    spread: median over features of recent deviation / source deviation.
    """

    window: int
    by: str
    distance: float
    distance_before: float
    clipped: float
    clipped_before: float
    mean_shift: float
    spread: float


class FeatureShift:
    """Watches the codes of one device. source: statistics of at least one sample."""

    def __init__(self, source: Statistics) -> None:
        sums, counts = source.class_sums.astype(np.float64), source.class_sums[-1].astype(np.float64)
        means = (sums[:-1] / np.maximum(counts, 1.0)).T
        seen = counts > 0
        total = float(counts.sum())
        squares = np.diagonal(source.gram)[:-1].astype(np.float64)
        within = (squares - (means.T**2 * counts).sum(axis=1)) / max(total - float(seen.sum()), 1.0)
        self._class_means: Float64 = means[seen]
        self._within: Float64 = np.maximum(within, VARIANCE_MIN)
        self._mean: Float64 = sums[:-1].sum(axis=1) / total
        self._deviation: Float64 = np.sqrt(np.maximum(squares / total - self._mean**2, VARIANCE_MIN))
        self._windows = 0
        self._rows: Int8 = np.zeros((0, source.size), np.int8)
        self._distance, self._clipped = _Cusum(SPREAD_MIN), _Cusum(SHARE_SPREAD_MIN)
        # rows, sum and sum of squares per feature, and the mean of ln D and of the clipped share
        self._recent: deque[tuple[Float64, Float64, float, float]] = deque(maxlen=RECENT_BLOCKS)

    def add(self, codes: Int8) -> Shift | None:
        """Look at more windows. codes: int8 (n, d). Returns the newest alarm that they raise."""
        alarm = None
        self._windows += len(codes)
        self._rows = np.concatenate([self._rows, codes])
        while len(self._rows) >= BLOCK_ROWS:
            block, self._rows = self._rows[:BLOCK_ROWS], self._rows[BLOCK_ROWS:]
            alarm = self._add_block(block) or alarm
        return alarm

    def distances(self, codes: Int8) -> Float64:
        """D per window. codes: int8 (n, d) -> float64 (n,)."""
        # (q - m)^2 / v written out: one matrix product instead of n x C x d differences
        scaled = codes / np.sqrt(self._within)
        means = self._class_means / np.sqrt(self._within)
        squares = (scaled**2).sum(axis=1)[:, None] - 2.0 * scaled @ means.T + (means**2).sum(axis=1)
        nearest: Float64 = squares.min(axis=1) / codes.shape[1]
        return np.maximum(nearest, DISTANCE_MIN)

    def encode(self) -> bytes:
        """The baselines and sums; of the block at hand and the recent ones nothing, they fill again soon."""
        values = {"windows": self._windows, "distance": self._distance.values(), "clipped": self._clipped.values()}
        return checked(canonical_json(values))

    def restore(self, payload: bytes) -> Self:
        """Inverse of `encode`. Raises StoreError."""
        body = unchecked(payload, "saved feature drift")
        fields = Fields(parse_json(body, "saved feature drift", StoreError), "saved feature drift", StoreError)
        self._windows = fields.integer("windows")
        self._distance.restore(fields.numbers("distance", low=-1e300, high=1e300))
        self._clipped.restore(fields.numbers("clipped", low=-1e300, high=1e300))
        fields.finish()
        return self

    def _add_block(self, block: Int8) -> Shift | None:
        values = block.astype(np.float64)
        log_distance = float(np.log(self.distances(block)).mean())
        clipped = float((np.abs(values) >= CODE_MAX).mean())
        self._recent.append((values.mean(axis=0), (values**2).mean(axis=0), log_distance, clipped))
        before = float(np.exp(self._distance.mean)), self._clipped.mean
        moved, saturated = self._distance.add(log_distance), self._clipped.add(clipped)
        # fewer clipped codes than before are no fault; a smaller distance may be a sensor that went silent
        if not moved and saturated <= 0:
            return None
        alarm = self._alarm("distance" if moved else "clipped", *before)
        # what is there now is the new normal: one alarm per drift
        self._distance, self._clipped = _Cusum(SPREAD_MIN), _Cusum(SHARE_SPREAD_MIN)
        return alarm

    def _alarm(self, by: str, distance_before: float, clipped_before: float) -> Shift:
        run = (self._distance if by == "distance" else self._clipped).run
        newest = list(self._recent)[-max(1, run) :]
        means, squares, logs, shares = (np.array(column) for column in zip(*newest, strict=True))
        mean = means.mean(axis=0)
        deviation = np.sqrt(np.maximum(squares.mean(axis=0) - mean**2, 0.0))
        return Shift(
            self._windows,
            by,
            float(np.exp(logs.mean())),
            distance_before,
            float(shares.mean()),
            clipped_before,
            float(np.sqrt((((mean - self._mean) / self._deviation) ** 2).mean())),
            float(np.median(deviation / self._deviation)),
        )


class _Cusum:
    """A baseline from the first blocks, then two cumulative sums of how far blocks lie above and below it."""

    def __init__(self, spread_min: float) -> None:
        self._spread_min = spread_min
        self._blocks, self.mean, self._squares = 0, 0.0, 0.0
        self._above = self._below = 0.0
        # blocks since the last one that spoke against a change
        self.run = 0

    def add(self, value: float) -> int:
        """1 when blocks have gone up for good, -1 when down, else 0."""
        if self._blocks < BASELINE_BLOCKS:
            self._blocks += 1
            step = value - self.mean
            self.mean += step / self._blocks
            self._squares += step * (value - self.mean)
            return 0
        spread = max(float(np.sqrt(self._squares / (self._blocks - 1))), self._spread_min)
        score = min(max((value - self.mean) / spread, -BLOCK_MAX), BLOCK_MAX)
        self._above = max(0.0, self._above + score - ALLOWANCE)
        self._below = max(0.0, self._below - score - ALLOWANCE)
        self.run = self.run + 1 if self._above or self._below else 0
        return (self._above > THRESHOLD) - (self._below > THRESHOLD)

    def values(self) -> list[float]:
        return [float(self._blocks), self.mean, self._squares, self._above, self._below, float(self.run)]

    def restore(self, values: tuple[float, ...]) -> None:
        if len(values) != 6 or values[2] < 0 or not 0 <= values[0] <= BASELINE_BLOCKS:
            raise StoreError("saved feature drift is damaged")
        self._blocks, self.run = int(values[0]), int(values[5])
        _, self.mean, self._squares, self._above, self._below, _ = values
