"""How much one device may weigh in the fleet's head: its samples, but no more than the fleet shows to be usual.

How many samples a device claims is its own word. Two bounds hold for all epochs of a device together:

    n_i > samples_max          it weighs samples_max
    n_i > 3/2 Q and > least    it weighs max(Q, least), among devices_min devices or more

with Q the samples of the device at the upper quartile of all that contribute. Everything is a function of the stored
reports alone, never of the order in which they came. A device over its bound is not left out and loses no class: its
tables are scaled down as a whole, which keeps its means and covariances and takes only the weight.

Tables over the bound are kept as integers per sample in fixed point, so that they add and subtract exactly, and the
bound may change without reading them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from aggregator.policy import Weighing
from headway.maths import CODE_MAX, SCATTER_TOLERANCE, Statistics, merge

# of the fixed point: sums of half a million devices fit, and a class that is a millionth of a device keeps three digits
UNIT = 1 << 30

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Bound:
    """Devices with more than `tolerated` samples weigh `weight` samples; all others what they have."""

    tolerated: int
    weight: int


def bound(samples: Iterable[int], weighing: Weighing) -> Bound:
    """The bound in a fleet whose devices have so many samples each, in any order; devices without one do not count."""
    every = sorted(count for count in samples if count)
    most = weighing.samples_max
    if not weighing.devices_min or len(every) < weighing.devices_min:
        return Bound(most, most)
    usual = upper_quartile(every)
    least = weighing.samples_min
    return Bound(min(most, max(3 * usual // 2, least)), min(most, max(usual, least)))


def upper_quartile(ascending: Sequence[Number]) -> Number:
    """Nearest rank: the smallest value that at least three quarters do not exceed. Raises IndexError for no value."""
    return ascending[-(-3 * len(ascending) // 4) - 1]


def per_sample(tables: Statistics) -> Statistics:
    """Tables divided by their samples, in units of 1 / UNIT, rounded to integers. At least one sample."""
    scale = UNIT / tables.samples
    gram = np.rint(tables.gram * scale).astype(np.int64)
    class_sums = np.rint(tables.class_sums * scale).astype(np.int64)
    # less than half a unit of a device is nothing
    return Statistics(gram, class_sums * (class_sums[-1] > 0), tables.classes, tables.space)


def scaled_down(units: Statistics, devices: int, weight: int) -> Statistics:
    """Integer tables of about `weight` samples for each of so many devices, from the sum of their `per_sample`.

    They pass `Statistics.inconsistency` as tables of samples do: counts are rounded up, means towards zero and the
    scatter to integers, with as much added to its diagonal as rounding may have taken from an eigenvalue.
    """
    counts = units.counts * (weight / UNIT)
    # each device's count was rounded to 1 / UNIT: what is whole but for that stays as it is
    whole = np.where(units.counts > 0, np.maximum(np.ceil(counts - devices * weight / UNIT), 1.0), 0.0)
    total = float(whole.sum())
    sums = units.class_sums[:-1].astype(np.float64)
    means = np.clip(sums / np.maximum(units.counts, 1), -CODE_MAX, CODE_MAX)
    scatter = (weight / UNIT) * (units.gram[:-1, :-1] - means @ sums.T)
    # an entry is off by half in the last step, and before by what each device's rounding to 1 / UNIT left
    power = CODE_MAX * CODE_MAX
    entry = 0.5 + 4.0 * devices * weight * power / UNIT + SCATTER_TOLERANCE * total * power
    slack = np.ceil(units.size * entry)
    # room for it below the largest square that codes can have
    room = min(1.0, 2.0 * slack / (power * total))
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
    limit = bound((part.samples for part in tables.values()), weighing)
    within = merge([nothing, *(part for part in tables.values() if part.samples <= limit.tolerated)])
    over = [per_sample(part) for part in tables.values() if part.samples > limit.tolerated]
    return combined(within, merge([nothing, *over]), len(over), limit.weight, source.classes)


def combined(within: Statistics, units: Statistics, devices: int, weight: int, first: tuple[str, ...]) -> Statistics:
    """The sum of tables within the bound and of `devices` over it. first: the classes that come first, in that order;
    then the fleet's own by name: never the order of arrival."""
    if not devices:
        return in_order(within, first)
    return in_order(within + scaled_down(in_order(units, first), devices, weight), first)


def in_order(tables: Statistics, first: tuple[str, ...]) -> Statistics:
    """The same tables with the classes `first`, then the others that hold samples, by name."""
    return tables.with_classes(first + tuple(sorted(occupied(tables) - set(first))))


def occupied(tables: Statistics) -> set[str]:
    """Classes that hold samples."""
    counts = tables.counts.tolist()
    return {name for name, count in zip(tables.classes, counts, strict=True) if count}
