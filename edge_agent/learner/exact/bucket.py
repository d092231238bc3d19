"""A run of labels: the samples themselves while these are few, else their sums."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headway.errors import LocalError
from headway.maths import HalfSums, RowSums, joined

# a row takes a byte a code, the upper part of a gram in 32 bits two bytes for the square of it
ROWS_PER_FEATURE = 2


@dataclass(frozen=True, slots=True)
class Bucket:
    """The labels numbered first, first + 1, ... up to but without `end`.

    removed: in order, the numbers of those that were taken out again, while the others are rows.
    """

    first: int
    end: int
    sums: RowSums | HalfSums
    removed: tuple[int, ...] = ()

    def joined_with(self, other: Bucket) -> Bucket:
        """Both as one; `other` follows."""
        rows = [part.sums for part in (self, other) if isinstance(part.sums, RowSums)]
        few = sum(part.samples for part in rows) <= ROWS_PER_FEATURE * self.sums.size
        if len(rows) == 2 and few:
            return Bucket(self.first, other.end, joined(rows), (*self.removed, *other.removed))
        return Bucket(self.first, other.end, HalfSums.of(self.sums, other.sums))

    def changed(self, number: int, before: RowSums, after: RowSums | None) -> Bucket:
        """Label `number` was `before`, of one row, and is `after` or none."""
        if isinstance(self.sums, RowSums) and number not in self.removed:
            at, rows = self.place(number), self.sums
            if rows.labels[at] == before.labels[0] and np.array_equal(rows.codes[at], before.codes[0]):
                kept = np.arange(rows.samples) != at
                if after is None:
                    left = RowSums(rows.codes[kept], rows.labels[kept], rows.classes)
                    return replace(self, sums=left, removed=tuple(sorted((*self.removed, number))))
                return replace(self, sums=replace(rows, labels=np.where(kept, rows.labels, after.labels)))
        # the bucket does not know the row: its sums change all the same
        sums = HalfSums.of(self.sums).plus(before, sign=-1)
        return Bucket(self.first, self.end, sums if after is None else sums.plus(after))

    def put_back(self, number: int, added: RowSums) -> Bucket:
        """Label `number`, which was taken out, is there again as the one row of `added`."""
        if not isinstance(self.sums, RowSums) or number not in self.removed:
            return Bucket(self.first, self.end, HalfSums.of(self.sums).plus(added))
        at, rows = self.place(number), self.sums
        codes = np.insert(rows.codes, at, added.codes[0], axis=0)
        labels = np.insert(rows.labels, at, added.labels[0])
        left = tuple(gone for gone in self.removed if gone != number)
        return replace(self, sums=RowSums(codes, labels, rows.classes), removed=left)

    def divided(self, number: int, newer: RowSums | None) -> tuple[Bucket, Bucket]:
        """Up to label `number`, and from there. newer: the labels from there on, for a bucket without rows."""
        if isinstance(self.sums, RowSums):
            at, rows = self.place(number), self.sums
            return (
                Bucket(
                    self.first,
                    number,
                    RowSums(rows.codes[:at], rows.labels[:at], rows.classes),
                    tuple(gone for gone in self.removed if gone < number),
                ),
                Bucket(
                    number,
                    self.end,
                    RowSums(rows.codes[at:], rows.labels[at:], rows.classes),
                    tuple(gone for gone in self.removed if gone >= number),
                ),
            )
        if newer is None:
            raise LocalError(
                f"labels {self.first} to {self.end} are sums; they are divided by the rows from {number} on"
            )
        return Bucket(self.first, number, self.sums.plus(newer, sign=-1)), Bucket(number, self.end, newer)

    def place(self, number: int) -> int:
        """The row of a label, or of the next one that is left."""
        return number - self.first - sum(gone < number for gone in self.removed)
