"""How much one device may weigh in the fleet's head: its samples, but no more than the fleet shows to be usual.

How many samples a device claims is its own word. Two bounds hold for all epochs of a device together, in all its
classes and in each:

    n_i > samples_max           it weighs samples_max
    n_i > Q + r and > least     it weighs max(Q, least), among devices_min devices or more

with Q the samples of the device at the upper quartile of all that have some, rounded up to one of four steps an octave,
so that it seldom moves. r is Q/2, or where that is more z sqrt(Q) + z^2 / 6 with z^2 = 3 ln(devices, rounded so, too):
by so much chance puts one of N equal devices above Q in one fleet of sqrt(N) at most (Poisson), so that an honest fleet
with few labels weighs them all in full. `least` is a share of what is granted to a whole fleet, in each class as in
all: samples_min to each of devices_min devices, or as much to all of more; in a class at most class_samples_min. So
those who claim what is granted gain the less, the more the fleet has learned. A device has one weight, the smallest
that these allow: a whole number of parts in `UNIT`. Its tables stay what they are; of devices over a bound a sum of
its own holds weight times tables, exactly, and is divided where the head is solved. Everything is a function of the
stored reports alone, never of the order in which they came.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from aggregator.policy import Weighing
from headway.maths import CODE_MAX, SCATTER_TOLERANCE, Statistics, merge

# of a weight: devices over a bound weigh so many parts of it
UNIT = 1 << 16

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Bound:
    """Devices with more than `tolerated` samples weigh `weight` samples; all others what they have."""

    tolerated: int
    weight: int

    def share(self, samples: int) -> int:
        """What a device with so many samples weighs, in parts of UNIT."""
        return UNIT if samples <= self.tolerated else UNIT * self.weight // samples


@dataclass(frozen=True, slots=True)
class Caps:
    """samples: of all classes together; classes: of each that enough devices have; others: of each other one."""

    samples: Bound
    classes: Mapping[str, Bound]
    others: Bound

    def weight(self, counts: Mapping[str, int]) -> int:
        """Of a device with so many samples of each class, in parts of UNIT: the smallest that any bound allows."""
        shares = [self.classes.get(name, self.others).share(count) for name, count in counts.items()]
        return min([self.samples.share(sum(counts.values())), *shares])


def caps(devices: Iterable[Mapping[str, int]], weighing: Weighing) -> Caps:
    """The bounds in a fleet whose devices have so many samples of each class, in any order; devices without one do not
    count."""
    every = [counts for counts in devices if sum(counts.values())]
    most, fewest = weighing.samples_max, weighing.devices_min
    whole = Bound(most, most)
    if not fewest or len(every) < fewest:
        return Caps(whole, {}, whole)
    samples = _bound([sum(counts.values()) for counts in every], weighing.samples_min, weighing)
    if not weighing.class_samples_min:
        return Caps(samples, {}, whole)
    by_class: dict[str, list[int]] = defaultdict(list)
    for counts in every:
        for name, count in counts.items():
            if count:
                by_class[name].append(count)
    if len(by_class) < 2:
        return Caps(samples, {}, whole)
    least = weighing.class_samples_min
    classes = {name: _bound(some, least, weighing) for name, some in by_class.items() if len(some) >= fewest}
    return Caps(samples, classes, Bound(*[min(most, max(weighing.samples_min, least))] * 2))


def upper_quartile(ascending: Sequence[Number]) -> Number:
    """Nearest rank: the smallest value that at least three quarters do not exceed. Raises IndexError for no value."""
    return ascending[-(-3 * len(ascending) // 4) - 1]


def step_up(count: int) -> int:
    """The least of 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 ... that is not below it."""
    step = 1 << max(count.bit_length() - 3, 0)
    return -(-count // step) * step


def times(tables: Statistics, weight: int) -> Statistics:
    """Each entry so many times."""
    return Statistics(tables.gram * weight, tables.class_sums * weight, tables.classes, tables.space)


def _bound(samples: Sequence[int], granted: int, weighing: Weighing) -> Bound:
    """granted: to one device at most."""
    most, least = weighing.samples_max, min(granted, _share(len(samples), weighing))
    usual = step_up(upper_quartile(sorted(samples)))
    deviations = math.sqrt(3.0 * math.log(max(step_up(len(samples)), 1)))
    tolerated = usual + max(usual // 2, math.floor(deviations * math.sqrt(usual) + deviations**2 / 6))
    return Bound(min(most, max(tolerated, least)), min(most, max(usual, least)))


def _share(devices: int, weighing: Weighing) -> int:
    """Of what devices_min devices are granted, that of one of so many."""
    return weighing.samples_min * weighing.devices_min // max(step_up(devices), 1)


def divided(units: Statistics) -> Statistics:
    """Integer tables of sums of `times`, divided by UNIT.

    They pass `Statistics.inconsistency` as tables of samples do: counts are rounded up, means towards zero and the
    scatter to integers, with as much added to its diagonal as rounding may have taken from an eigenvalue.
    """
    counts = units.counts / UNIT
    whole = np.ceil(counts)
    total = float(whole.sum())
    sums = units.class_sums[:-1] / UNIT
    means = np.clip(sums / np.where(counts > 0, counts, 1.0), -CODE_MAX, CODE_MAX)
    scatter = units.gram[:-1, :-1] / UNIT - means @ sums.T
    power = CODE_MAX * CODE_MAX
    slack = np.ceil(units.size * (0.5 + SCATTER_TOLERANCE * total * power))
    # room for it below the largest square that codes can have
    room = min(1.0, 2.0 * slack / max(power * total, 1.0))
    within = np.trunc(means * (1.0 - room) * whole)
    gram = np.zeros_like(units.gram)
    class_sums = np.vstack([within, whole]).astype(np.int64)
    products = (within / np.maximum(whole, 1.0)) @ within.T
    inner = (1.0 - room) * 0.5 * (scatter + scatter.T) + 0.5 * (products + products.T)
    inner[np.diag_indices(units.size)] += slack
    gram[:-1, :-1] = np.rint(inner).astype(np.int64)
    gram[-1] = gram[:, -1] = class_sums.sum(axis=1)
    return Statistics(gram, class_sums, units.classes, units.space)


def weighed(tables: Mapping[str, Statistics], source: Statistics, weighing: Weighing) -> Statistics:
    """What counts in the head, from every device's tables: the plain definition of what `FleetSum` keeps up to date."""
    nothing = Statistics.zeros(source.size, source.classes, source.space)
    bounds = caps((counts_of(part) for part in tables.values()), weighing)
    weights = {name: bounds.weight(counts_of(part)) for name, part in tables.items()}
    within = merge([nothing, *(part for name, part in tables.items() if weights[name] == UNIT)])
    over = [times(part, weights[name]) for name, part in tables.items() if weights[name] < UNIT]
    return combined(within, merge([nothing, *over]), source.classes)


def combined(within: Statistics, units: Statistics, first: tuple[str, ...]) -> Statistics:
    """The sum of tables within the bounds and of those over them. first: the classes that come first, in that order;
    then the fleet's own by name: never the order of arrival."""
    if not units.samples:
        return in_order(within, first)
    return in_order(within + divided(in_order(units, first)), first)


def counts_of(tables: Statistics) -> dict[str, int]:
    """Samples by class, of classes that have some."""
    return {name: count for name, count in zip(tables.classes, tables.counts.tolist(), strict=True) if count}


def in_order(tables: Statistics, first: tuple[str, ...]) -> Statistics:
    """The same tables with the classes `first`, then the others that hold samples, by name."""
    return tables.with_classes(first + tuple(sorted(occupied(tables) - set(first))))


def occupied(tables: Statistics) -> set[str]:
    """Classes that hold samples."""
    return set(counts_of(tables))
