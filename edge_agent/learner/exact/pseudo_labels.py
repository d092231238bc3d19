"""Windows without a label that the learner labelled itself, because the head was very sure. Off by default.

Their statistics lie beside those of the labels: experts are solved with them, but they are never scored, counted or
reported, and one is taken out again, to the bit, when the true label of its window comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.learner.exact.rows import LabelledRows
from edge_agent.learner.exact.saved import packed, unpacked
from headway.arrays import AnyArray, Int8
from headway.maths import Statistics

# what they are called in a saved state
SAVED = "guesses"


class PseudoLabels:
    """Statistics, and the newest rows that are not in them yet. batch: so many rows wait, as each change is a refit."""

    def __init__(self, empty: Statistics, batch: int) -> None:
        self.statistics = empty
        self._batch = batch
        self._waiting = LabelledRows.of([], empty.size)

    def __len__(self) -> int:
        return self.statistics.samples + len(self._waiting)

    def add(self, code: Int8, label: int) -> bool:
        """One more, int8 (1, d). True when the statistics have changed."""
        self._waiting = self._waiting.plus(_row(code, label))
        if len(self._waiting) < self._batch:
            return False
        self.statistics = self.statistics + self._of(self._waiting)
        self._waiting = self._waiting.newest(0)
        return True

    def withdraw(self, code: Int8, label: int) -> bool:
        """Take one out again. True when the statistics have changed."""
        same = np.flatnonzero((self._waiting.labels == label) & (self._waiting.codes == code).all(axis=1))
        if len(same):
            self._waiting = self._waiting.kept(np.arange(len(self._waiting)) != same[-1])
            return False
        self.statistics = self.statistics - self._of(_row(code, label))
        return True

    def with_classes(self, classes: tuple[str, ...]) -> None:
        self.statistics = self.statistics.with_classes(classes)

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        self.statistics = self.statistics.renamed(renames)

    def state(self) -> dict[str, AnyArray]:
        """Nothing where there is none."""
        return packed(self.statistics, SAVED) | self._waiting.state(SAVED) if len(self) else {}

    def restore(self, tensors: Mapping[str, AnyArray]) -> None:
        """Inverse of `state`. Raises StoreError."""
        if f"{SAVED}.codes" in tensors:
            self._waiting = LabelledRows.restored(tensors, SAVED, self.statistics.size)
            self.statistics = unpacked(tensors, SAVED, self.statistics, self.statistics.classes)

    def _of(self, rows: LabelledRows) -> Statistics:
        return Statistics.of(rows.codes, rows.labels, self.statistics.classes, self.statistics.space)


def _row(code: Int8, label: int) -> LabelledRows:
    return LabelledRows(code, np.array([label], np.int64))
