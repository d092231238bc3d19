"""What is added to a sum and taken from it, in place: the tables of a batch of reports become one step of the sum.

Of the gram the upper part alone is worked on, by panels, until the step is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import Int64
from headway.maths import Statistics, panels_of, union_of_classes


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """What a report brings that takes the place of another one of its device, formed once for all sums that have a part
    of both. panels: of the gram, int64 (b, D - start) each, see `panels_of`; class_sums: int64 (D, C)."""

    panels: Sequence[Int64]
    class_sums: Int64
    new: Statistics

    @classmethod
    def of(cls, old: Statistics | None, new: Statistics) -> Difference | None:
        """new - old; None where they differ in more than numbers, or there is nothing to take off."""
        if old is None or old.classes != new.classes or old.space != new.space or old.size != new.size:
            return None
        places = panels_of(len(new.gram))
        panels = [new.gram[start:stop, start:] - old.gram[start:stop, start:] for start, stop in places]
        return cls(panels, new.class_sums - old.class_sums, new)


class Change:
    """Of a sum in the feature space of `source`."""

    def __init__(self, source: Statistics) -> None:
        self._source = source
        self._tables: Statistics | None = None

    def replace(self, old: Statistics | None, new: Statistics | None) -> None:
        """Put `new` in and take `old` away; None stands for nothing."""
        for tables, change in ((new, np.add), (old, np.subtract)):
            if tables is None:
                continue
            mine = self._of_classes(tables)
            tables = tables.with_classes(mine.classes)
            for start, stop in panels_of(len(mine.gram)):
                rows = mine.gram[start:stop, start:]
                change(rows, tables.gram[start:stop, start:], out=rows)
            change(mine.class_sums, tables.class_sums, out=mine.class_sums)

    def add_difference(self, difference: Difference) -> None:
        """The same of two tables."""
        mine, classes = self._of_classes(difference.new), difference.new.classes
        for (start, stop), panel in zip(panels_of(len(mine.gram)), difference.panels, strict=True):
            rows = mine.gram[start:stop, start:]
            rows += panel
        if classes == mine.classes:
            class_sums = mine.class_sums
            class_sums += difference.class_sums
        else:
            columns = [mine.classes.index(name) for name in classes]
            mine.class_sums[:, columns] += difference.class_sums

    def take(self) -> Statistics | None:
        """All of it since the last call; None for nothing."""
        tables, self._tables = self._tables, None
        if tables is not None:
            for start, stop in panels_of(len(tables.gram)):
                tables.gram[stop:, start:stop] = tables.gram[start:stop, stop:].T
        return tables

    def _of_classes(self, tables: Statistics) -> Statistics:
        """What was added so far, with at least the classes of `tables`."""
        mine, source = self._tables, self._source
        if mine is None:
            mine = Statistics.zeros(source.size, source.classes, source.space)
        mine.require_same_space(tables)
        if tables.classes != mine.classes:
            mine = mine.with_classes(union_of_classes(mine.classes, tables.classes))
        self._tables = mine
        return mine
