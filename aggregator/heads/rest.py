"""Devices beside the sum of the rest of the fleet, each looked at no more closely than what is to be decided needs.

What a device's sums alone tell follows from its class means and one number, and is cheap. More follows from its tables,
which have to be read from the store: milliseconds where they are wide. So tables are read of those alone who are asked
for and whose error is above half of that of no head, or who are large enough to be in the measure themselves; once for
each measure. What is read is not all held: the tables of those that are out of the measure as far as there is room, who
are asked for again and again, and all where the fleet is small.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from aggregator.heads.compared_fleet import LARGE_SHARE, ComparedFleet
from aggregator.heads.comparing import Close, Compared, Measure, compare, compare_closely, spread_along
from headway.arrays import Bools
from headway.maths import Statistics, blend


class Rest:
    """The source and all devices but those that are `out`, bool (n,); nobody is at first. line: above which error the
    tables of a device are read."""

    def __init__(self, source: Statistics, fleet: ComparedFleet, shrinkage: float, line: float) -> None:
        self._classes, self._fleet, self._shrinkage, self._line = source.classes, fleet, shrinkage, line
        self._sum = blend([(1.0, source), (1.0, fleet.counted)])
        self.out: Bools = np.zeros(len(fleet.names), bool)
        self._measured: tuple[Measure, list[int]] | None = None
        self._found, self._known = Compared.nothing(len(fleet.names), len(self._classes)), self.out.copy()

    def take_out(self, places: Iterable[int]) -> None:
        """Take devices out of the measure."""
        self._move([*places], True)

    def put_back(self, places: Iterable[int]) -> None:
        """Put devices back into it."""
        self._move([*places], False)

    def measure(self) -> Measure:
        """Of who is not out. Raises numpy.linalg.LinAlgError for a sum that has no covariance."""
        return self._begun()[0]

    def look(self, wanted: Bools) -> Compared:
        """All devices; of those `wanted`, bool (n,), or wanted before beside this measure, what can be told of them.

        Raises numpy.linalg.LinAlgError for a sum that has no covariance.
        """
        measure, columns = self._begun()
        places = np.flatnonzero(wanted & ~self._known)
        if not len(places):
            return self._found
        self._known[places] = True
        fleet, rest = self._fleet, self._sum
        own = np.where(self.out[:, None], 0.0, fleet.heavy)[places]
        share = (rest.counts[columns], own) if own.any() else None
        found = compare(measure, fleet.counts[places], fleet.means[places], fleet.spread[places], share)
        self._found.put(places.tolist(), found)
        large = own.sum(axis=1) > LARGE_SHARE * rest.counts.sum()
        closely = places[large | (found.error > self._line)].tolist()
        apart = set(places[large].tolist())
        if closely:
            close = (self._closely(place, place in apart, measure, columns) for place in closely)
            self._found.put(closely, compare_closely(close))
        return self._found

    def _closely(self, place: int, large: bool, measure: Measure, columns: list[int]) -> Close:
        fleet, tables = self._fleet, self._read(place)
        if not large:
            close = Close.of(measure, fleet.counts[place], fleet.means[place], tables)
            fleet.spread[place] = close.spread
            return close
        fleet.spread[place] = spread_along(tables, measure.axes())
        beside = Measure.of(blend([(-fleet.weights[place], tables)], self._sum), columns, self._shrinkage)
        return Close.of(beside, fleet.counts[place], fleet.means[place], tables)

    def _begun(self) -> tuple[Measure, list[int]]:
        if self._measured is None:
            columns = [self._sum.classes.index(name) for name in self._classes]
            self._measured = Measure.of(self._sum, columns, self._shrinkage), columns
        return self._measured

    def _move(self, places: Sequence[int], out: bool) -> None:
        self.out[places] = out
        self._measured, self._known = None, np.zeros(len(self.out), bool)
        sign = -1.0 if out else 1.0
        counted = [place for place in places if self._fleet.weights[place] > 0]
        # a third of the fleet may be out: their tables are never in memory together
        parts = ((sign * float(self._fleet.weights[place]), self._read(place)) for place in counted)
        self._sum = blend(parts, self._sum)
        for place in () if out else places:
            self._fleet.held.drop(place, len(self.out))

    def _read(self, place: int) -> Statistics:
        return self._fleet.read(place, often=bool(self.out[place]))
