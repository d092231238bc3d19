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
from aggregator.heads.comparing import AT_ONCE, Close, Compared, Measure, compare, compare_closely, spread_along
from aggregator.heads.steps import (
    ADD_NUMBER_S,
    COMPARE_NUMBER_S,
    COMPARE_S,
    INVERSE_S,
    LOOK_NUMBER_S,
    LOOK_S,
    Steps,
)
from headway.arrays import Bools, Int64
from headway.maths import Statistics, blend


class Rest:
    """The source and all devices but those that are `out`, bool (n,); nobody is at first. line: above which error the
    tables of a device are read. What takes long is done in steps."""

    def __init__(self, source: Statistics, fleet: ComparedFleet, shrinkage: float, line: float) -> None:
        self._classes, self._fleet, self._shrinkage, self._line = source.classes, fleet, shrinkage, line
        self._sum = blend([(1.0, source), (1.0, fleet.counted)])
        self.out: Bools = np.zeros(len(fleet.names), bool)
        self._measured: tuple[Measure, list[int]] | None = None
        self._found, self._known = Compared.nothing(len(fleet.names), len(self._classes)), self.out.copy()

    def take_out(self, places: Iterable[int]) -> Steps[None]:
        """Take devices out of the measure."""
        yield from self._move([*places], True)

    def put_back(self, places: Iterable[int]) -> Steps[None]:
        """Put devices back into it."""
        yield from self._move([*places], False)

    def measure(self) -> Measure:
        """Of who is not out. Raises numpy.linalg.LinAlgError for a sum that has no covariance."""
        return self._begun()[0]

    def look(self, wanted: Bools) -> Steps[Compared]:
        """All devices; of those `wanted`, bool (n,), or wanted before beside this measure, what can be told of them.

        Raises numpy.linalg.LinAlgError for a sum that has no covariance.
        """
        self._begun()
        yield INVERSE_S * float(self._fleet.means.shape[1]) ** 3
        places = np.flatnonzero(wanted & ~self._known)
        self._known[places] = True
        for start in range(0, len(places), AT_ONCE):
            yield from self._look_at(places[start : start + AT_ONCE])
        return self._found

    def _look_at(self, places: Int64) -> Steps[None]:
        measure, columns = self._begun()
        fleet, rest = self._fleet, self._sum
        own = np.where(self.out[:, None], 0.0, fleet.heavy)[places]
        share = (rest.counts[columns], own) if own.any() else None
        found = compare(measure, fleet.counts[places], fleet.means[places], fleet.spread[places], share)
        self._found.put(places.tolist(), found)
        yield len(places) * (COMPARE_S + COMPARE_NUMBER_S * float(fleet.means[0].size))
        large = own.sum(axis=1) > LARGE_SHARE * rest.counts.sum()
        closely = places[large | (found.error > self._line)].tolist()
        apart, close = set(places[large].tolist()), list[Close]()
        for place in closely:
            tables, work_s = self._read(place)
            close.append(self._closely(place, tables, place in apart))
            yield work_s + LOOK_S + LOOK_NUMBER_S * tables.gram.size
            if place in apart:
                yield INVERSE_S * float(tables.size) ** 3
            del tables  # of wide ones no two are in memory
        if close:
            self._found.put(closely, compare_closely(close))

    def _closely(self, place: int, tables: Statistics, large: bool) -> Close:
        fleet, (measure, columns) = self._fleet, self._begun()
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

    def _move(self, places: Sequence[int], out: bool) -> Steps[None]:
        self.out[places] = out
        self._measured, self._known = None, np.zeros(len(self.out), bool)
        sign = -1.0 if out else 1.0
        for place in places:
            if self._fleet.weights[place] > 0:
                tables, work_s = self._read(place)
                self._sum = blend([(sign * float(self._fleet.weights[place]), tables)], self._sum)
                yield work_s + ADD_NUMBER_S * tables.gram.size
                del tables  # a third of the fleet may be out: their tables are never in memory together
        for place in () if out else places:
            self._fleet.held.drop(place, len(self.out))

    def _read(self, place: int) -> tuple[Statistics, float]:
        return self._fleet.read(place, often=bool(self.out[place]))
