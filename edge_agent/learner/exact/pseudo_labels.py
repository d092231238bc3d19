"""What the exact learner taught itself: windows without a label, of which the head was very sure. Off by default.

Guesses lie in tables of their own, beside the labels': they are solved with, but never scored, counted or reported,
and one is taken out again, to the bit, when the true label of its window comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from headway.arrays import AnyArray, Int8, Int64
from headway.errors import RemoteError, StoreError
from headway.maths import Statistics, from_arrays, to_arrays

# guesses that wait until they are solved with, so that not every window costs a solve
BATCH = 16


class Guesses:
    """Tables of guesses, and the newest ones that are not in them yet."""

    def __init__(self, empty: Statistics) -> None:
        self.tables = empty
        self._codes: Int8 = np.zeros((0, empty.size), np.int8)
        self._labels: Int64 = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self.tables.samples + len(self._labels)

    def add(self, code: Int8, label: int) -> bool:
        """One more, int8 (1, d). True when the tables have changed."""
        self._codes, self._labels = np.concatenate([self._codes, code]), np.append(self._labels, label)
        if len(self._labels) < BATCH:
            return False
        self.tables = self.tables + self._of(self._codes, self._labels)
        self._codes, self._labels = self._codes[:0], self._labels[:0]
        return True

    def withdraw(self, code: Int8, label: int) -> bool:
        """Take one out again. True when the tables have changed."""
        same = np.flatnonzero((self._labels == label) & (self._codes == code).all(axis=1))
        if len(same):
            keep = np.arange(len(self._labels)) != same[-1]
            self._codes, self._labels = self._codes[keep], self._labels[keep]
            return False
        self.tables = self.tables - self._of(code, np.array([label], np.int64))
        return True

    def with_classes(self, classes: tuple[str, ...]) -> None:
        self.tables = self.tables.with_classes(classes)

    def renamed(self, renames: Sequence[tuple[str, str]]) -> None:
        self.tables = self.tables.renamed(renames)

    def state(self) -> dict[str, AnyArray]:
        """Nothing where there is none."""
        if not len(self):
            return {}
        tables = {f"guesses.{name}": array for name, array in to_arrays(self.tables).items()}
        return tables | {"guesses.codes": self._codes, "guesses.labels": self._labels}

    def restore(self, tensors: Mapping[str, AnyArray]) -> None:
        """Inverse of `state`. Raises StoreError."""
        if "guesses.codes" not in tensors:
            return
        packed = {name: tensors[f"guesses.{name}"] for name in ("gram", "class_sums")}
        codes, labels = tensors["guesses.codes"], tensors["guesses.labels"]
        if codes.dtype != np.int8 or codes.shape != (len(labels), self.tables.size) or labels.dtype != np.int64:
            raise StoreError("saved guesses do not fit this bundle")
        try:
            self.tables = from_arrays(packed, self.tables.size, self.tables.classes, self.tables.space)
        except RemoteError as error:
            raise StoreError(f"saved guesses are damaged: {error}") from error
        self._codes, self._labels = codes, labels

    def _of(self, codes: Int8, labels: Int64) -> Statistics:
        return Statistics.of(codes, labels, self.tables.classes, self.tables.space)
