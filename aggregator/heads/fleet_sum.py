"""Sums the devices' statistics as integers, and computes the fleet's head from the sum (method `exact`).

Each device's statistics are cumulative, so newer ones replace the older: ``total += new - old``. Integers do not round,
so the sum is the same to the bit whatever the order, the repeats and the losses on the way, and a device can be
taken out again. Solving in one place and solving here give the same head, bit for bit, also where devices weigh less
than what they claim (`aggregator.heads.weighing`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from aggregator.heads.weighing import Bound, bound, combined, in_order, per_sample
from aggregator.policy import Weighing
from headway.errors import LocalError
from headway.maths import Head, Statistics, fleet_head

Solve = Callable[[Statistics, Statistics, float], Head]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The tables of a sum. total: of everybody; within: of devices within the bound; units: per sample, of `over`."""

    total: Statistics
    within: Statistics
    units: Statistics
    over: frozenset[str]

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
        # of everybody; of devices within the bound; per sample, of those over it
        self._total = self._within = self._units = Statistics.zeros(source.size, source.classes, source.space)
        self._samples: dict[str, int] = {}
        self._over: set[str] = set()
        self._bound: Bound | None = None
        self._weighed: Statistics | None = None

    @property
    def total(self) -> Statistics:
        """What the devices told, the source's samples not counted, classes in canonical order."""
        return in_order(self._total, self._source.classes)

    @property
    def weighed(self) -> Statistics:
        """What counts in the head: `total`, but less of devices that are over the bound."""
        if self._weighed is None:
            limit = self._settle()
            self._weighed = self._combined(limit, self._within, self._units, len(self._over))
        return self._weighed

    @property
    def devices_over(self) -> list[str]:
        """Devices that weigh less than what they claim, by name."""
        self._settle()
        return sorted(self._over)

    def without(self, device: str) -> Statistics:
        """`weighed` less everything that came from one device: nothing of its tables is left in it."""
        if device not in self._samples:
            return self.weighed
        limit = self._settle()
        within, units, over = self._within, self._units, len(self._over)
        if device in self._over:
            units, over = units - per_sample(self._stored(device)), over - 1
        else:
            within = within - self._stored(device)
        return self._combined(limit, within, units, over)

    def problem_with(self, new: Statistics) -> str | None:
        """Why `new` cannot be part of the sum; None when it can."""
        if new.space != self._source.space or new.size != self._source.size:
            return (
                f"feature space {new.space[:12]} (d={new.size}) is not the bundle's, "
                f"{self._source.space[:12]} (d={self._source.size})"
            )
        return None

    def replace(self, device: str, old: Statistics | None, new: Statistics | None) -> None:
        """Take `old` out of what a device contributed and put `new` in; None stands for nothing."""
        change = Statistics.zeros(self._source.size, self._source.classes, self._source.space)
        change = change if new is None else change + new
        change = change if old is None else change - old
        self._total = in_order(self._total + change, self._source.classes)
        before = self._samples.pop(device, 0)
        after = before + change.samples
        if device in self._over:
            now = self._stored(device)
            self._units = self._units - per_sample(now - change)
            self._over.discard(device)
            self._within = self._within + now
        else:
            self._within = self._within + change
        self._within = in_order(self._within, self._source.classes)
        if after:
            self._samples[device] = after
        self._bound = self._weighed = None

    @property
    def sums(self) -> Sums:
        """The tables, to be kept; `resume` takes them up again."""
        return Sums(self._total, self._within, self._units, frozenset(self._over))

    def resume(self, sums: Sums, samples: Mapping[str, int]) -> None:
        """Become a sum that was kept. samples: of each device that is in it."""
        self._total, self._within, self._units, self._over = sums.total, sums.within, sums.units, set(sums.over)
        self._samples = {device: count for device, count in samples.items() if count}
        self._bound = self._weighed = None

    def take_over(self, other: FleetSum) -> None:
        """Become the same sum as `other`, whose changes leave this one as it is."""
        self._total, self._within, self._units = other._total, other._within, other._units
        self._samples, self._over, self._bound = dict(other._samples), set(other._over), other._bound
        self._weighed = None

    def head(self) -> Head:
        """The head of source and fleet, over int8 codes. Raises numpy.linalg.LinAlgError where there is none."""
        counted = self.weighed
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # told by what comes of it
                return self._solve(self._source, counted, self._shrinkage)
        except LocalError as error:  # weights that are not finite make no head
            raise np.linalg.LinAlgError(str(error)) from error

    def _combined(self, limit: Bound, within: Statistics, units: Statistics, over: int) -> Statistics:
        return combined(within, units, over, limit.weight, self._source.classes)

    def _settle(self) -> Bound:
        """Bring every device to its side of the bound, which follows from all of them."""
        if self._bound is None:
            self._bound = bound(self._samples.values(), self._weighing)
            over = {name for name, samples in self._samples.items() if samples > self._bound.tolerated}
            for device in over - self._over:
                tables = self._stored(device)
                self._within, self._units = self._within - tables, self._units + per_sample(tables)
            for device in self._over - over:
                tables = self._stored(device)
                self._within, self._units = self._within + tables, self._units - per_sample(tables)
            self._over = over
            first = self._source.classes
            self._within, self._units = in_order(self._within, first), in_order(self._units, first)
        return self._bound
