"""Statistics in the forms in which they cost little memory: rows that were never summed, and half a gram.

A gram of d = 1,280 codes is 13 MB as int64. A solution needs it once, as float64, so that between two solutions it may
rest in whatever is smaller: few samples as their rows (82 KB for 64), many as the upper part of the gram in integers
as narrow as the values allow (4 MB). All forms hold the same integers and give them out to the bit, in panels: blocks
of rows of the gram from their diagonal on, so that nothing of the gram's size is needed in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from headway.arrays import AnyArray, Float64, Int8, Int64, large_zeros
from headway.maths.statistics import (
    EXACT_ROWS,
    Panel,
    Statistics,
    pack,
    panel_rows,
    renamed_columns,
    union_of_classes,
    with_columns,
)


class Sums(Protocol):
    """What solutions read of statistics (headway/maths/statistics.py), in whatever form."""

    @property
    def size(self) -> int:
        """Number of codes per sample, d."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def samples(self) -> int: ...

    @property
    def counts(self) -> Int64:
        """Samples per class, int64 (C,)."""

    @property
    def class_sums(self) -> Int64:
        """int64 (d + 1, C), the last row the counts."""

    def panels(self) -> Iterator[Panel]:
        """Parts that add up to the upper part of the gram; whole numbers in any dtype."""

    def with_classes(self, classes: Sequence[str]) -> Sums: ...

    def statistics(self, space: str) -> Statistics:
        """The same as whole tables of int64."""


@dataclass(frozen=True, slots=True, eq=False)
class RowSums:
    """The samples themselves. codes: int8 (n, d); labels: int64 (n,), columns of `classes`."""

    codes: Int8
    labels: Int64
    classes: tuple[str, ...]

    @property
    def size(self) -> int:
        return int(self.codes.shape[1])

    @property
    def samples(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> Int64:
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    @property
    def class_sums(self) -> Int64:
        total = np.zeros((self.size + 1, len(self.classes)), np.int64)
        for extended, labels in self._extended():
            onehot = np.zeros((len(labels), len(self.classes)), np.float32)
            onehot[np.arange(len(labels)), labels] = 1
            total += (extended.T @ onehot).astype(np.int64)
        return total

    def panels(self) -> Iterator[Panel]:
        for extended, _ in self._extended():
            rows = panel_rows(self.size + 1)
            for start in range(0, self.size + 1, rows):
                yield start, extended[:, start : start + rows].T @ extended[:, start:]

    def with_classes(self, classes: Sequence[str]) -> RowSums:
        """As `Statistics.with_classes`."""
        names = tuple(classes)
        if names == self.classes:
            return self
        with_columns(self.class_sums, self.classes, names)  # none that has samples is lost
        places = np.array([names.index(name) if name in names else -1 for name in self.classes], np.int64)
        return RowSums(self.codes, places[self.labels], names)

    def renamed(self, renames: Sequence[tuple[str, str]]) -> RowSums:
        """As `Statistics.renamed`."""
        classes, columns = renamed_columns(self.classes, renames)
        return RowSums(self.codes, columns[self.labels], classes)

    def newest(self, count: int) -> RowSums:
        start = max(self.samples - count, 0)
        return replace(self, codes=self.codes[start:], labels=self.labels[start:])

    def statistics(self, space: str) -> Statistics:
        return _whole(self, space)

    def _extended(self) -> Iterator[tuple[AnyArray, Int64]]:
        """Rows with the constant, float32, so many at a time that products of them are exact; and their labels."""
        for start in range(0, self.samples, EXACT_ROWS):
            codes = self.codes[start : start + EXACT_ROWS]
            extended = np.ones((len(codes), self.size + 1), np.float32)
            extended[:, :-1] = codes
            yield extended, self.labels[start : start + EXACT_ROWS]


@dataclass(frozen=True, slots=True, eq=False)
class HalfSums:
    """The upper part of the gram, each panel in integers as narrow as its values allow.

    blocks: panels in order, whole numbers (b, d + 1 - start); class_sums: int64 (d + 1, C).
    """

    blocks: tuple[AnyArray, ...]
    class_sums: Int64
    classes: tuple[str, ...]

    @classmethod
    def zeros(cls, size: int, classes: Sequence[str]) -> HalfSums:
        full = size + 1
        rows = panel_rows(full)
        blocks = tuple(np.zeros((min(rows, full - start), full - start), np.int16) for start in range(0, full, rows))
        return cls(blocks, np.zeros((full, len(classes)), np.int64), tuple(classes))

    @classmethod
    def of(cls, *parts: Sums) -> HalfSums:
        """The sum of parts of the same classes."""
        return cls.zeros(parts[0].size, parts[0].classes).plus(*parts)

    @property
    def size(self) -> int:
        return len(self.class_sums) - 1

    @property
    def samples(self) -> int:
        return int(self.class_sums[-1].sum())

    @property
    def counts(self) -> Int64:
        counts: Int64 = self.class_sums[-1]
        return counts

    def panels(self) -> Iterator[Panel]:
        for index, block in enumerate(self.blocks):
            yield index * panel_rows(self.size + 1), block

    def plus(self, *parts: Sums, sign: int = 1) -> HalfSums:
        """These and all parts, of the same classes; `sign` -1 takes them out again."""
        blocks: list[AnyArray] = list(self.blocks)
        class_sums = self.class_sums
        for part in parts:
            class_sums = class_sums + sign * part.class_sums
            for start, panel in part.panels():
                at = start // panel_rows(self.size + 1)
                blocks[at] = _narrowest(blocks[at] + sign * panel.astype(np.int64))
        return HalfSums(tuple(blocks), class_sums, self.classes)

    def with_classes(self, classes: Sequence[str]) -> HalfSums:
        """As `Statistics.with_classes`."""
        names = tuple(classes)
        if names == self.classes:
            return self
        return HalfSums(self.blocks, with_columns(self.class_sums, self.classes, names), names)

    def renamed(self, renames: Sequence[tuple[str, str]]) -> HalfSums:
        """As `Statistics.renamed`."""
        classes, columns = renamed_columns(self.classes, renames)
        class_sums = np.zeros((self.size + 1, len(classes)), np.int64)
        np.add.at(class_sums.T, columns, self.class_sums.T)
        return HalfSums(self.blocks, class_sums, classes)

    def statistics(self, space: str) -> Statistics:
        return _whole(self, space)


@dataclass(frozen=True, slots=True, eq=False)
class SumOf:
    """Several, as one. All have the same codes; classes: the union, in the order of the parts."""

    parts: tuple[Sums, ...]

    @property
    def size(self) -> int:
        return self.parts[0].size

    @property
    def classes(self) -> tuple[str, ...]:
        first, *others = self.parts
        classes = first.classes
        for part in others:
            classes = union_of_classes(classes, part.classes)
        return classes

    @property
    def samples(self) -> int:
        return sum(part.samples for part in self.parts)

    @property
    def counts(self) -> Int64:
        classes = self.classes
        alike = [part.with_classes(classes).counts for part in self.parts]
        return np.asarray(np.sum(alike, axis=0), np.int64)

    @property
    def class_sums(self) -> Int64:
        classes = self.classes
        alike = [part.with_classes(classes).class_sums for part in self.parts]
        return np.asarray(np.sum(alike, axis=0), np.int64)

    def panels(self) -> Iterator[Panel]:
        for part in self.parts:
            yield from part.panels()

    def with_classes(self, classes: Sequence[str]) -> SumOf:
        return SumOf(tuple(part.with_classes(classes) for part in self.parts))

    def statistics(self, space: str) -> Statistics:
        return _whole(self, space)


def add_panels(sums: Sums, total: AnyArray, factor: float = 1.0) -> None:
    """Add `factor` times the gram, or as much of it as fits. total: (d, d) without the constant, or (d + 1, d + 1).

    In float64 without a factor that is exact: whole numbers below 2^53.
    """
    size = len(total)
    for start, panel in sums.panels():
        block = panel[: size - start, : size - start]
        if factor != 1.0:
            block = factor * block.astype(np.float64)
        end = start + len(block)
        total[start:end, start:] += block.astype(total.dtype, copy=False)
        total[end:, start:end] += block[:, end - start :].T.astype(total.dtype, copy=False)


def squares_of(sums: Sums) -> float:
    """The sum of all squared codes: the trace of the gram without the constant."""
    total = 0.0
    for start, panel in sums.panels():
        total += float(np.diagonal(panel)[: sums.size - start].sum(dtype=np.float64))
    return total


def joined(rows: Sequence[RowSums]) -> RowSums:
    """The samples of all, one after another; of the same classes."""
    codes = np.concatenate([part.codes for part in rows])
    return RowSums(codes, np.concatenate([part.labels for part in rows]), rows[0].classes)


def _whole(sums: Sums, space: str) -> Statistics:
    gram = np.zeros((sums.size + 1, sums.size + 1), np.int64)
    add_panels(sums, gram)
    return Statistics(gram, sums.class_sums, sums.classes, space)


def _narrowest(block: Int64) -> AnyArray:
    """The same values in the narrowest of int16, int32 and int64 that holds them."""
    largest = max(int(block.max(initial=0)), -int(block.min(initial=0)))
    for dtype in (np.int16, np.int32):
        if largest <= np.iinfo(dtype).max:
            return block.astype(dtype)
    return block


def pack_upper(sums: HalfSums) -> dict[str, AnyArray]:
    """As `headway.maths.to_arrays` of the same statistics, without making the whole gram."""
    rows = [block[row, row:] for block in sums.blocks for row in range(len(block))]
    return {
        "gram": pack(np.concatenate(rows, dtype=np.int64)),
        "class_sums": pack(sums.class_sums.reshape(-1)),
    }


def matrix_of(sums: Sums) -> Float64:
    """The gram without the constant, float64 (d, d), exact."""
    total = large_zeros(sums.size, sums.size)
    add_panels(sums, total)
    return total
