"""What the exact learner of targets knows: integers, and nothing else. All of it is saved; heads are solved from it.

Statistics by time, the labels that wait for the next refit, the newest rows, and what other devices learned. As in
exact/knowledge.py; here a label is part of its row, so that a correction changes rows instead of classes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge_agent.learner.exact import Buckets, ExactSettings, packed, unpacked
from edge_agent.learner.targets.rows import NumberedRows
from headway.arrays import AnyArray, Int8, Int64
from headway.fields import Fields, JsonValue
from headway.maths import Statistics


class TargetKnowledge:
    """training: statistics of the training data; fleet: of other devices, None without any; evidence: the newest rows
    in the buckets."""

    def __init__(self, training: Statistics, settings: ExactSettings) -> None:
        self._settings = settings
        self.training = training
        self.fleet: Statistics | None = None
        self._empty = Statistics.zeros(training.size, training.classes, training.space)
        self.buckets = Buckets(self._empty, settings.bucket_labels, settings.buckets_max, settings.fine_buckets)
        self.waiting: list[Int8] = []
        self.evidence = NumberedRows.of([], 0, training.size)
        # number of the first label since the last drift, once there was one
        self._drift: int | None = None

    @property
    def prior(self) -> Statistics:
        """What was known before any label."""
        return self.training if self.fleet is None else self.training + self.fleet

    @property
    def local(self) -> Statistics:
        """Everything this device was taught, exactly."""
        return self.buckets.total + self._statistics(self._waiting_rows().rows)

    @property
    def labels(self) -> int:
        """Labels learned so far; the number the next one gets."""
        return self.buckets.labels + len(self.waiting)

    @property
    def few(self) -> bool:
        """See `ExactSettings.few`."""
        return self._settings.few(self.buckets.labels)

    def since_drift(self) -> int | None:
        """Labels since the last drift, where they may have experts of their own."""
        if not self._drift:
            return None
        since = self.buckets.labels - self._drift
        return since if self._settings.drift_labels_min <= since <= self._settings.drift_labels_max else None

    def may_forget(self, lookback: int) -> bool:
        """Whether labels before the newest `lookback` are many, or from before the last drift."""
        labels = self.buckets.labels
        since = labels - self._drift if self._drift else 0
        return since >= lookback or labels >= max(2 * lookback, self._settings.remember_labels)

    def add(self, row: Int8) -> None:
        """One more label, which waits. row: int8 (d + width,)."""
        self.waiting.append(row.copy())

    def fold(self) -> None:
        """Labels that wait go into the buckets."""
        waiting = self._waiting_rows()
        self.buckets.add(waiting.rows, _one_class(waiting.rows))
        self.evidence = self.evidence.plus(waiting, self._settings.evidence_rows)
        self.waiting = []

    def change(self, number: int, before: Int8, after: Int8 | None) -> None:
        """Label `number`, which waits no longer, has the row `after` instead of `before`, or none. int8 (1, ...)."""
        self.buckets.change(number, before, 0, None)
        if after is not None:
            self.buckets.put_back(number, after, 0)
        self.evidence = self.evidence.changed(number, after)

    def adopt(self, fleet: Statistics) -> None:
        """Count these statistics of other devices instead of any before. They hold nothing this device was taught."""
        self.fleet = fleet

    def drifted(self, since: int) -> None:
        """From label `since` on things are different."""
        newest = self.evidence.unbroken(self.buckets.labels)
        self._drift = self.buckets.begin_at(since, newest.rows, _one_class(newest.rows))

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        tensors, ranges = self.buckets.state()
        tensors |= self._waiting_rows().state("pending") | self.evidence.state("evidence")
        if self.fleet is not None:
            tensors |= packed(self.fleet, "fleet")
        values: dict[str, JsonValue] = {"ranges": [{"range": list(pair)} for pair in ranges]}
        return tensors, values | ({} if self._drift is None else {"drift": self._drift})

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        size, classes = self.training.size, self.training.classes
        ranges = [list(item.integers("range", count_max=2)) for item in values.tables("ranges")]
        self._drift = values.integer("drift") if values.has("drift") else None
        self.fleet = unpacked(tensors, "fleet", self.training, classes) if "fleet.gram" in tensors else None
        self.buckets.restore(tensors, ranges, self._drift or 0)
        self.waiting = list(NumberedRows.restored(tensors, "pending", size).rows)
        self.evidence = NumberedRows.restored(tensors, "evidence", size)

    def _waiting_rows(self) -> NumberedRows:
        return NumberedRows.of(self.waiting, self.buckets.labels, self.training.size)

    def _statistics(self, rows: Int8) -> Statistics:
        return Statistics.of(rows, _one_class(rows), self._empty.classes, self._empty.space)


def _one_class(rows: Int8) -> Int64:
    """Every row of such statistics is of the one class that they have."""
    return np.zeros(len(rows), np.int64)
