"""Keeps rows for the gradient learner to rehearse: training data from the bundle, and a reservoir of its own.

For a classifier both are balanced by class: a draw picks a class first, each alike. Within it the device's own rows
are drawn with chance n / (n + worth), n being its labels of that class so far: the source speaks for classes the
device has not met, and falls silent where the device knows better. The reservoir keeps a uniform sample of all
labels within each class (algorithm R, Vitter 1985); after drift, of the rows held then and all labels that follow, so
that new ones soon replace them. Multi-label and regression rows form one group.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from headway.arrays import AnyArray, Float32, Int8, Int64
from headway.bundle import TrainingRows
from headway.errors import StoreError
from headway.samples import Label


class Rehearsal:
    """Labelled int8 codes to draw mini-batches from.

    groups: classes of a classifier, or 1; rows_max: of the device's own rows, shared out evenly over the groups;
    worth: own labels of a group that weigh as much as the source rows; outputs: width of targets, 0 for a classifier.
    """

    def __init__(
        self, source: TrainingRows | None, size: int, groups: int, outputs: int, rows_max: int, worth: float
    ) -> None:
        self.size, self._outputs, self._worth = size, outputs, worth
        self._source = source if source is not None and len(source.values) else None
        self._rows_max = rows_max
        self._lay_out(groups)

    @property
    def held(self) -> int:
        """Rows that can be drawn."""
        return int(self._source_count.sum() + np.minimum(self._seen, self._capacity).sum())

    def draw(self, count: int, random: np.random.Generator) -> tuple[Int8, AnyArray]:
        """A random mini-batch with replacement: codes int8 (m, d) and classes int64 (m,) or targets float32 (m, C).

        m is `count`, or 0 while there is nothing to draw from.
        """
        groups = np.flatnonzero(self._seen + self._source_count)
        if not len(groups) or not count:
            return self._codes[:0], self._truth(np.zeros(0, np.int64), np.zeros(0, np.int64))
        chosen = groups[random.integers(0, len(groups), count)] if len(groups) > 1 else np.repeat(groups, count)
        seen, source = self._seen[chosen], self._source_count[chosen]
        own = random.random(count) * (seen + self._worth * (source > 0)) < seen
        limit = np.where(own, np.minimum(seen, self._capacity), source)
        slot = (random.random(count) * limit).astype(np.int64)
        rows = np.where(own, self._own_start + chosen * self._capacity, self._source_start[chosen]) + slot
        return self._codes[rows], self._truth(rows, chosen)

    def add(self, code: Int8, label: Label, random: np.random.Generator) -> None:
        """Take in one labelled row. code: int8 (d,); label: class, or targets float32 (C,)."""
        group = label if isinstance(label, int) else 0
        slot = int(self._seen[group] - self._passed[group])
        self._seen[group] += 1
        if slot >= self._capacity:
            slot = int(random.integers(0, slot + 1))
        if slot < self._capacity:
            self._put(group, slot, code, label)

    def renew(self) -> None:
        """Things are different from now on: rows held count as all there ever were, so new ones soon replace them."""
        self._passed[:] = self._seen - np.minimum(self._seen, self._capacity)

    def forget(self, code: Int8, label: Label) -> None:
        """A label was wrong: drop its row if it is still held; the group's newest row takes its place."""
        group = label if isinstance(label, int) else 0
        held = min(int(self._seen[group]), self._capacity)
        start = self._own_start + group * self._capacity
        same = (self._codes[start : start + held] == code).all(axis=1)
        if not isinstance(label, int):
            same &= _equal(self._targets[start : start + held], label)
        if not same.any():
            return
        at, last = start + int(same.argmax()), start + held - 1
        self._codes[at] = self._codes[last]
        if self._outputs:
            self._targets[at] = self._targets[last]
        # a smaller count would let later labels in too often, by at most one place in `capacity`
        self._seen[group], self._passed[group] = held - 1, 0

    def with_groups(self, groups: int) -> None:
        """Go on with more classes, each with a share of the room."""
        saved = self.state()
        self._lay_out(groups)
        self.restore(saved)

    def state(self) -> dict[str, AnyArray]:
        """Own rows only; the source rows are in the bundle."""
        kept = np.minimum(self._seen, self._capacity)
        rows = np.concatenate(
            [self._own_start + g * self._capacity + np.arange(n, dtype=np.int64) for g, n in enumerate(kept.tolist())]
        )
        state: dict[str, AnyArray] = {"replay": self._codes[rows], "seen": self._seen.copy(), "kept": kept}
        if self._passed.any():
            state["passed"] = self._passed.copy()
        return state | ({"replay_targets": self._targets[rows]} if self._outputs else {})

    def restore(self, tensors: Mapping[str, AnyArray]) -> None:
        """Inverse of `state`, also into less room. Raises StoreError."""
        codes, seen, kept = (tensors.get(name) for name in ("replay", "seen", "kept"))
        targets = tensors.get("replay_targets")
        fits = codes is not None and seen is not None and kept is not None
        if not fits or codes is None or seen is None or kept is None:
            raise StoreError("saved gradient learner lacks its replay rows")
        counts_fit = seen.dtype == kept.dtype == np.int64 and seen.shape == kept.shape and len(seen) <= len(self._seen)
        if not counts_fit or (kept < 0).any() or (kept > seen).any() or codes.dtype != np.int8:
            raise StoreError("saved replay rows do not fit this bundle")
        if codes.shape != (int(kept.sum()), self.size):
            raise StoreError("saved replay rows do not fit this bundle")
        if self._outputs and (targets is None or targets.shape != (len(codes), self._outputs)):
            raise StoreError("saved replay rows lack their targets")
        start = 0
        for group, count in enumerate(kept.tolist()):
            for slot in range(min(count, self._capacity)):
                label = targets[start + slot] if targets is not None else group
                self._put(group, slot, codes[start + slot], label)
            start += count
        self._seen[: len(seen)] = np.where(kept < np.minimum(seen, self._capacity), kept, seen)
        passed = tensors.get("passed", np.zeros_like(seen))
        if passed.shape != seen.shape or passed.dtype != np.int64 or (passed < 0).any() or (passed > seen).any():
            raise StoreError("saved replay rows do not fit this bundle")
        # where there is room, the next row takes a free place
        self._passed[: len(seen)] = np.where(self._seen[: len(seen)] >= self._capacity, passed, 0)

    def _lay_out(self, groups: int) -> None:
        """One array: the source rows sorted by class, then room for each group's own rows."""
        self._capacity = max(1, self._rows_max // groups)
        source = self._source
        self._own_start = 0 if source is None else len(source.values)
        total = self._own_start + groups * self._capacity
        self._codes: Int8 = np.zeros((total, self.size), np.int8)
        self._targets: Float32 = np.zeros((total, self._outputs), np.float32)
        self._seen: Int64 = np.zeros(groups, np.int64)
        # of those, how many algorithm R no longer counts, since a drift
        self._passed: Int64 = np.zeros(groups, np.int64)
        self._source_count: Int64 = np.zeros(groups, np.int64)
        if source is not None and source.labels is not None:
            order = np.argsort(source.labels, kind="stable")
            self._codes[: self._own_start] = source.values[order]
            self._source_count[:] = np.bincount(source.labels, minlength=groups)
        elif source is not None and source.targets is not None:
            self._codes[: self._own_start] = source.values
            self._targets[: self._own_start] = source.targets
            self._source_count[0] = self._own_start
        self._source_start: Int64 = np.concatenate([[0], np.cumsum(self._source_count)[:-1]]).astype(np.int64)

    def _put(self, group: int, slot: int, code: Int8, label: Label) -> None:
        row = self._own_start + group * self._capacity + slot
        self._codes[row] = code
        if self._outputs:
            self._targets[row] = label

    def _truth(self, rows: Int64, groups: Int64) -> AnyArray:
        return self._targets[rows] if self._outputs else groups


def _equal(rows: Float32, label: Float32) -> AnyArray:
    """Rows that hold the same targets, unknown ones alike. float32 (n, C), (C,) -> bool (n,)."""
    return np.asarray(((rows == label) | (np.isnan(rows) & np.isnan(label))).all(axis=1))
