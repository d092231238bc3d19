"""Sums the devices' statistics as integers, and computes the fleet's head from the sum (method `exact`).

Each device's statistics are cumulative, so newer ones replace the older: ``total += new - old``. Integers do not round,
so the sum is the same to the bit whatever the order, the repeats and the losses on the way, and a device can be
taken out again. Solving in one place and solving here give the same head, bit for bit, also where devices weigh less
than what they claim (`aggregator.heads.weighing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.heads.sum_changes import Change, Difference
from aggregator.heads.weighing import UNIT, caps, combined, counts_of, in_order, times
from aggregator.partial_sum import PartialSum
from aggregator.policy import Weighing
from headway.arrays import Float64
from headway.errors import LocalError
from headway.maths import Head, Statistics, fleet_head

Solve = Callable[[Statistics, Statistics, float], Head]
# devices that a line of the log names
NAMED_MAX = 5


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The tables of a sum. total: of everybody; within: of devices within the bounds; units: weight times tables, of
    those over them; over: their weights, in parts of `aggregator.heads.weighing.UNIT`."""

    total: Statistics
    within: Statistics
    units: Statistics
    over: Mapping[str, int]

    def unchanged_since(self, other: Sums) -> bool:
        """Whether nothing was added or taken since: tables are replaced, never changed, so no number is looked at."""
        tables = ((self.total, other.total), (self.within, other.within), (self.units, other.units))
        return all(mine is its for mine, its in tables) and self.over == other.over

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sums):
            return NotImplemented
        mine, others = (self.total, self.within, self.units), (other.total, other.within, other.units)
        return mine == others and self.over == other.over

    __hash__ = None  # type: ignore[assignment]


class FleetSum:
    """The sum over all (device, epoch) pairs, in the feature space of one bundle.

    stored: the sum of what is stored of a device and counts, over its epochs; asked only where a device is over the
    bound, or comes to be on its other side. Before `replace` is called the store holds what it tells. solve: makes the
    head of the source's statistics, the fleet's and the shrinkage.
    """

    def __init__(
        self,
        source: Statistics,
        shrinkage: float,
        weighing: Weighing,
        stored: Callable[[str], Statistics],
        solve: Solve = fleet_head,
    ) -> None:
        self._source, self._shrinkage, self._weighing, self._stored = source, shrinkage, weighing, stored
        self._solve = solve
        # of everybody; of devices within the bounds; weight times tables, of those over them
        self._total = self._within = self._units = Statistics.zeros(source.size, source.classes, source.space)
        # what came since, added to the first two when somebody asks
        self._change = Change(source)
        # of each device, samples by class
        self._counts: dict[str, Mapping[str, int]] = {}
        self._over: dict[str, int] = {}
        self._settled = False
        self._weighed: Statistics | None = None

    @property
    def total(self) -> Statistics:
        """What the devices told, the source's samples not counted, classes in canonical order."""
        self._take_in()
        return in_order(self._total, self._source.classes)

    @property
    def weighed(self) -> Statistics:
        """What counts in the head: `total`, but less of devices that are over the bound."""
        if self._weighed is None:
            self._settle()
            self._weighed = self._combined(self._within, self._units)
        return self._weighed

    @property
    def class_sums(self) -> Float64:
        """Class sums of what counts, not rounded, of the source's classes alone: float64 (d + 1, C)."""
        self._settle()
        some = len(self._source.classes)
        units: Float64 = self._units.class_sums[:, :some] / UNIT
        return self._within.class_sums[:, :some] + units

    @property
    def devices_over(self) -> list[str]:
        """Devices that weigh less than what they claim, by name."""
        self._settle()
        return sorted(self._over)

    @property
    def over_in_words(self) -> str:
        """The same for the end of a line of the log; empty for nobody."""
        over = self.devices_over
        if not over:
            return ""
        named = ", ".join(over[:NAMED_MAX]) + (", ..." if len(over) > NAMED_MAX else "")
        return f"; {len(over)} with more samples than they may weigh: {named}"

    def weight(self, device: str) -> float:
        """What its samples count, 0..1."""
        self._settle()
        return self._over.get(device, UNIT) / UNIT

    def contains(self, device: str) -> bool:
        """Whether something of a device counts."""
        return device in self._counts

    def without(self, device: str) -> Statistics:
        """`weighed` less everything that came from one device: nothing of its tables is left in it."""
        if device not in self._counts:
            return self.weighed
        self._settle()
        within, units = self._within, self._units
        if device in self._over:
            units = units - times(self._stored(device), self._over[device])
        else:
            within = within - self._stored(device)
        return self._combined(within, units)

    def problem_with(self, new: Statistics) -> str | None:
        """Why `new` cannot be part of the sum; None when it can."""
        if new.space != self._source.space or new.size != self._source.size:
            return (
                f"feature space {new.space[:12]} (d={new.size}) is not the bundle's, "
                f"{self._source.space[:12]} (d={self._source.size})"
            )
        return None

    def replace(
        self, device: str, old: Statistics | None, new: Statistics | None, difference: Difference | None = None
    ) -> None:
        """Take `old` out of what a device contributed and put `new` in; None stands for nothing. difference: of these
        two, where somebody has formed it."""
        if difference is not None:
            self._change.add_difference(difference)
        else:
            self._change.replace(old, new)
        if device in self._over:
            self._bring_within(device, old, new)
        counts = _added(self._counts.pop(device, {}), self._gained(old, new), 1)
        if counts:
            self._counts[device] = counts
        self._settled, self._weighed = False, None

    def merge(self, part: PartialSum, counts: Iterable[tuple[str, Mapping[str, int], Mapping[str, int]]]) -> None:
        """Take in what was added up elsewhere. counts: of each device that is in it, samples by class before and after.

        None of them may be among `apart`.
        """
        first = self._source.classes
        self._total = in_order(self._total + part.tables, first)
        self._within = in_order(self._within + part.tables, first)
        for device, before, after in counts:
            gained = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
            now = _added(self._counts.pop(device, {}), self._as_bounded(gained), 1)
            if now:
                self._counts[device] = now
        self._settled, self._weighed = False, None

    @property
    def apart(self) -> frozenset[str]:
        """Devices whose tables are not in the sum as they are, so that their changes have to be known one by one."""
        return frozenset(self._over)

    @property
    def sums(self) -> Sums:
        """The tables, to be kept; `resume` takes them up again."""
        self._take_in()
        return Sums(self._total, self._within, self._units, dict(self._over))

    def resume(self, sums: Sums, counts: Mapping[str, Mapping[str, int]]) -> None:
        """Become a sum that was kept. counts: samples by class of each device that is in it; under any names where
        classes have no bound of their own."""
        self._total, self._within, self._units, self._over = sums.total, sums.within, sums.units, dict(sums.over)
        self._change = Change(self._source)
        bounded = {device: self._as_bounded(some) for device, some in counts.items()}
        self._counts = {device: dict(some) for device, some in bounded.items() if any(some.values())}
        self._settled, self._weighed = False, None

    def take_over(self, other: FleetSum) -> None:
        """Become the same sum as `other`, whose changes leave this one as it is."""
        other._take_in()
        self._change = Change(self._source)
        self._total, self._within, self._units = other._total, other._within, other._units
        self._counts, self._over, self._settled = dict(other._counts), dict(other._over), other._settled
        self._weighed = None

    def head(self) -> Head:
        """The head of source and fleet, over int8 codes. Raises numpy.linalg.LinAlgError where there is none."""
        counted = self.weighed
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # told by what comes of it
                return self._solve(self._source, counted, self._shrinkage)
        except LocalError as error:  # weights that are not finite make no head
            raise np.linalg.LinAlgError(str(error)) from error

    def _gained(self, old: Statistics | None, new: Statistics | None) -> Mapping[str, int]:
        """Samples by class that a change brings, as classes are bounded."""
        if not self._weighing.class_samples_min:
            return {"": (0 if new is None else new.samples) - (0 if old is None else old.samples)}
        if old is not None and new is not None and old.classes == new.classes:
            more = zip(new.classes, (new.counts - old.counts).tolist(), strict=True)
            return {name: count for name, count in more if count}
        gained = {} if new is None else counts_of(new)
        return gained if old is None else _added(gained, counts_of(old), -1)

    def _as_bounded(self, counts: Mapping[str, int]) -> Mapping[str, int]:
        """Where classes have no bound of their own, all samples count as of one."""
        return counts if self._weighing.class_samples_min else {"": sum(counts.values())}

    def _take_in(self) -> None:
        """Add what came since."""
        change = self._change.take()
        if change is not None:
            first = self._source.classes
            self._total, self._within = in_order(self._total + change, first), in_order(self._within + change, first)

    def _bring_within(self, device: str, old: Statistics | None, new: Statistics | None) -> None:
        """Of a device over the bounds, whose change counts as of one within them: all that was stored before, too."""
        before = self._stored(device)
        before = before if new is None else before - new
        before = before if old is None else before + old
        self._units = self._units - times(before, self._over.pop(device))
        self._within = in_order(self._within + before, self._source.classes)

    def _combined(self, within: Statistics, units: Statistics) -> Statistics:
        return combined(within, units, self._source.classes)

    def _settle(self) -> None:
        """Give every device the weight that follows from all of them."""
        self._take_in()
        if self._settled:
            return
        bounds = caps(self._counts.values(), self._weighing)
        found = {name: bounds.weight(counts) for name, counts in self._counts.items()}
        over = {name: weight for name, weight in found.items() if weight < UNIT}
        for device in over.keys() | self._over.keys():
            before, after = self._over.get(device, UNIT), over.get(device, UNIT)
            if before == after:
                continue
            tables = self._stored(device)
            if UNIT in (before, after):
                self._within = self._within + times(tables, 1 if after == UNIT else -1)
            # of UNIT nothing is in the sum of those over the bounds
            self._units = self._units + times(tables, after % UNIT - before % UNIT)
        self._over, self._settled = over, True
        first = self._source.classes
        self._within, self._units = in_order(self._within, first), in_order(self._units, first)


def _added(counts: Mapping[str, int], gained: Mapping[str, int], sign: int) -> dict[str, int]:
    """Samples by class after a change; those of classes that have none are left out."""
    after = dict(counts)
    for name, count in gained.items():
        after[name] = after.get(name, 0) + sign * count
    return after if all(after.values()) else {name: count for name, count in after.items() if count}
