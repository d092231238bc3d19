"""Tells which devices' statistics contradict those of all others, from sums alone.

Each device is compared with the exact sum of the source and of the others (`aggregator.heads.comparing`): nothing of it
is in the means, nor in the covariance, that judge it. It contradicts the others where both are so:

    error > 1 - 1/C        their head is worse at its labels than no head at all: this needs no threshold
    agreement too small    for chance beside what honest devices may show here: three quarters of the usual, half-way
                           between the usual and a toss; among fifty devices or more what a tenth of them fall short of,
                           where that is more

Devices that differ honestly (other people, drifted sensors) have a large error where their windows lie far from those
of the others, or a small agreement where they lie between classes; lies have both. Usual is the median of the fleet.
Where the head is right about few of the usual device's labels, nothing can be told and nobody is named.

*Against conspiracies.* One liar makes others look worse, and many make each other look right. So the worst are taken
out first, not only those that are named: whoever's error is above half of that line, a third of the fleet at most; all
are compared again without them. Then those whose error beside the rest is below the line are put back, the best first.
Whoever stays above it is in no measure, named or not: put back one by one, devices of which no single one says enough
would vouch for each other. The first to be taken out are those that differ from the training data, which no device can
change, and from the weighted median of class means over devices: so that tables which spoil every comparison do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from aggregator.heads.compared_fleet import ComparedFleet
from aggregator.heads.comparing import Compared, Measure, compare, spread_along, spreads_along
from aggregator.heads.portraits import Finding, Portrait
from aggregator.heads.rest import Rest
from aggregator.heads.steps import MEDIAN_NUMBER_S, Steps, whole
from headway.arrays import Bools, Float64
from headway.maths import Statistics, blend

CHANCE = 0.002  # that a device that agrees as little as an honest one may shows so little
AGREEMENT_PART, AGREEMENT_BACK = 0.75, 0.75
# at most so much of the usual agreement is asked of honest devices, where a tenth of them is a number
AGREEMENT_PART_MAX, TENTH_MIN = 0.9, 5
USUAL_MIN = 0.6
# who is taken out at first, in the metric of the training data
FIRST_AGREEMENT, FIRST_SHIFT, FIRST_SPREAD, FIRST_TIMES = 0.6, 0.4, 3.0, 5.0
# of those to be taken out, and of those to be put back, so many at a time
PART_OUT, PART_BACK = 0.25, 0.5
# labels of which chance is exact, in such fleets
EXACT_MAX = 64


class Outliers:
    """Compares devices of one feature space. shrinkage: of covariances."""

    def __init__(self, source: Statistics, shrinkage: float) -> None:
        self._source, self._shrinkage = source, shrinkage
        # axes, and their product with what mirrors them
        self._squared: tuple[Float64, Float64] | None = None
        self._classes = source.classes
        self._start: Measure | None = None
        self._axes: Float64 | None = None

    def portrait(self, tables: Statistics) -> Portrait:
        """Of a device's tables; classes that the bundle does not have are not looked at."""
        counts, means = self._known(tables)
        if self._axes is None:
            self._axes = self._source_measure().axes()
        return Portrait(counts, means.astype(np.float32), spread_along(tables, self._axes))

    def judge(
        self,
        portraits: Mapping[str, Portrait],
        weights: Mapping[str, float],
        counted: Statistics,
        tables: Callable[[str], Statistics],
    ) -> dict[str, Finding]:
        """`comparison`, all at once."""
        return whole(self.comparison(portraits, weights, counted, tables))

    def comparison(
        self,
        portraits: Mapping[str, Portrait],
        weights: Mapping[str, float],
        counted: Statistics,
        tables: Callable[[str], Statistics],
    ) -> Steps[dict[str, Finding]]:
        """What is found of each device. weights: of those whose tables are in `counted`; tables: gives a device's own,
        which must be the same between the first step and the last.

        Raises numpy.linalg.LinAlgError for a sum that has no covariance.
        """
        names = sorted(name for name, portrait in portraits.items() if portrait.counts.any())
        if not names:
            return {}
        fleet = ComparedFleet(
            names,
            np.array([portraits[name].counts for name in names]),
            np.array([portraits[name].means for name in names]),
            np.array([portraits[name].spread for name in names]),
            np.array([weights.get(name, 0.0) for name in names]),
            counted,
            tables,
        )
        rest = Rest(self._source, fleet, self._shrinkage, 0.5 * self._nothing)
        return (yield from self._searched(fleet, rest))

    def _searched(self, fleet: ComparedFleet, rest: Rest) -> Steps[dict[str, Finding]]:
        """Each time no more is looked at than decides it: who may be taken out, or put back."""
        first = yield from self._first_out(fleet)
        yield from rest.take_out(np.flatnonzero(first).tolist())
        while (room := len(fleet.names) // 3 - int(rest.out.sum())) > 0:
            error = (yield from rest.look(~rest.out)).error
            worst = np.flatnonzero(~rest.out & (error > 0.5 * self._nothing))
            if not len(worst):
                break
            worst = worst[np.argsort(-error[worst], kind="stable")]
            yield from rest.take_out(worst[: min(room, max(1, int(PART_OUT * len(worst))))].tolist())
        while True:
            error = (yield from rest.look(rest.out)).error
            best = np.flatnonzero(rest.out & (error <= self._nothing))
            if not len(best):
                break
            best = best[np.argsort(error[best], kind="stable")]
            yield from rest.put_back(best[: max(1, int(PART_BACK * len(best)))].tolist())
        found = yield from rest.look(np.ones(len(fleet.names), bool))
        self._axes = rest.measure().axes()
        return self._findings(fleet, found, self._named(fleet, found, rest.out), rest.out)

    def _first_out(self, fleet: ComparedFleet) -> Steps[Bools]:
        """Who differs from the training data and the median; nobody, where that is more than a third."""
        measure = self._source_measure()
        heavy = np.maximum(fleet.weights, 1e-3)[:, None] * fleet.counts
        middle = yield from self._median(fleet.counts, fleet.means, heavy)
        beside = Measure(measure.inverse, middle)
        found = compare(beside, fleet.counts, fleet.means, np.ones(len(fleet.names)), None)
        usual = float(np.median(found.agreement))
        limit = max(FIRST_SHIFT, FIRST_TIMES * float(np.median(found.shift)))
        wide = fleet.spread > max(FIRST_SPREAD, FIRST_TIMES * float(np.median(fleet.spread)))
        out: Bools = (found.shift > limit) | (wide & (found.agreement < usual))
        if usual >= USUAL_MIN:
            out |= _chance(found.agreement, fleet.counts.sum(axis=1), FIRST_AGREEMENT * usual, len(out)) < CHANCE
        return out if out.sum() * 3 <= len(out) else np.zeros(len(out), bool)

    @property
    def _nothing(self) -> float:
        """The error of no head."""
        return 1.0 - 1.0 / len(self._classes)

    def _named(self, fleet: ComparedFleet, found: Compared, out: Bools) -> Bools:
        worse: Bools = found.error > self._nothing
        least = _honest(found.agreement[~out])
        return worse & (_chance(found.agreement, fleet.counts.sum(axis=1), least, int((~out).sum())) < CHANCE)

    def _findings(self, fleet: ComparedFleet, found: Compared, named: Bools, out: Bools) -> dict[str, Finding]:
        usual, usual_shift = float(np.median(found.agreement[~out])), float(np.median(found.shift[~out]))
        # no majority, or no head, that could be the measure
        nobody = named.sum() * 3 > len(named) or usual < USUAL_MIN
        result = {}
        for place, name in enumerate(fleet.names):
            counts, near = fleet.counts[place], found.near[place]
            moved = [label for label in np.flatnonzero(counts) if near[label] != label]
            most = max(moved, key=counts.__getitem__, default=None)
            fine = found.error[place] < self._nothing and found.agreement[place] >= AGREEMENT_BACK * usual
            result[name] = Finding(
                int(counts.sum()),
                float(found.agreement[place]),
                1.0 - float(found.error[place]) / self._nothing,
                float(found.shift[place]),
                float(fleet.spread[place]),
                usual,
                usual_shift,
                None if most is None else (self._classes[most], self._classes[near[most]]),
                bool(named[place]) and not nobody,
                bool(fine),
            )
        return result

    def _known(self, tables: Statistics) -> tuple[Float64, Float64]:
        """Counts (C,) and means (d, C) of the bundle's classes."""
        if tables.classes == self._classes:
            sums = tables.class_sums.astype(np.float64)
        else:
            column = {name: place for place, name in enumerate(tables.classes)}
            places = np.array([column.get(name, -1) for name in self._classes])
            sums = np.where(places >= 0, tables.class_sums[:, places], 0).astype(np.float64)
        return sums[-1], sums[:-1] / np.maximum(sums[-1], 1.0)

    def portraits(self, every: Sequence[Statistics]) -> list[Portrait]:
        """`portrait` of several."""
        axes = self._axes
        if axes is None or any(tables.classes != self._classes for tables in every):
            return [*map(self.portrait, every)]
        if self._squared is None or self._squared[0] is not axes:
            self._squared = axes, axes @ axes.T
        sums = np.array([tables.class_sums for tables in every], np.float64)
        means = sums[:, :-1] / np.maximum(sums[:, -1:], 1.0)
        spreads = spreads_along(every, *self._squared).tolist()
        # copies: one that is kept keeps no others
        some = zip(sums[:, -1], means, spreads, strict=True)
        return [Portrait(counts.copy(), mean.astype(np.float32), spread) for counts, mean, spread in some]

    def _source_measure(self) -> Measure:
        if self._start is None:
            moments = blend([(1.0, self._source)])
            self._start = Measure.of(moments, [*range(len(self._classes))], self._shrinkage)
        return self._start

    def _median(self, counts: Float64, means: Float64, heavy: Float64) -> Steps[Float64]:
        """Of each class and feature the weighted median over devices, and over the source with a usual weight."""
        result = self._source_measure().means.copy()
        for place in range(counts.shape[1]):
            some = counts[:, place] > 0
            if not some.any():
                continue
            values = np.vstack([means[some, :, place], result[:, place]])
            # nobody has more say than the usual device, whatever it claims
            usual = float(np.median(heavy[some, place]))
            weight = np.append(np.minimum(heavy[some, place], usual), usual)
            order = np.argsort(values, axis=0)
            passed = np.cumsum(weight[order], axis=0)
            middle = (passed >= 0.5 * passed[-1]).argmax(axis=0)
            result[:, place] = np.take_along_axis(values, np.take_along_axis(order, middle[None], 0), 0)[0]
            yield MEDIAN_NUMBER_S * values.size
        return result


def _honest(agreement: Float64) -> float:
    """The least agreement to be expected of an honest device among devices that show these."""
    usual, tenth = float(np.median(agreement)), len(agreement) // 10
    if tenth < TENTH_MIN:
        return AGREEMENT_PART * usual
    lowest = float(np.sort(agreement)[tenth - 1])
    return min(max(AGREEMENT_PART * usual, lowest), AGREEMENT_PART_MAX * usual)


def _chance(share: Float64, labels: Float64, least: float, devices: int) -> Float64:
    """At most so likely is it that of so many labels so small a share agrees, if each agrees with probability `least`:
    exp(-n KL(share, least)) (Chernoff).

    Labels of one device are no independent draws, which the bound, three to ten times too large, makes up for. Among so
    many devices that a tenth of them is a number, `least` already allows for how honest ones differ (`_honest`): there
    it is the binomial itself, up to EXACT_MAX labels. Between whole numbers of labels its logarithm is linear.
    """
    p = np.clip(share, 1e-12, 1.0 - 1e-12)
    divergence = p * np.log(p / least) + (1.0 - p) * np.log((1.0 - p) / (1.0 - least))
    bound: Float64 = np.where(share < least, np.exp(-labels * divergence), 1.0)
    if devices // 10 < TENTH_MIN:
        return bound
    for count in np.unique(labels[labels <= EXACT_MAX]).astype(int).tolist():
        some, places = labels == count, np.arange(count + 1)
        ways = np.array([math.comb(count, place) for place in places], np.float64)
        below = np.log(np.cumsum(ways * least**places * (1.0 - least) ** (count - places)))
        bound[some] = np.exp(np.interp(share[some] * count, places, below))
    return bound
