"""Tells which devices' statistics contradict those of all others, from class means and scatter alone.

Of a device only sums are known, so its labels are judged as sums. With M the class means of the others and the source,
S their covariance within classes, m_c and n_c of the device:

    agreement   sum_c n_c min_o Phi(margin of c over o / its deviation) / n: the share of its labels that the others'
                head would give, as a normal distribution about m_c with covariance S has it
    shift       mean of |m_c - M_c|^2 in the metric S^-1, along the directions that tell classes apart, less what n_c
                samples vary; in units of the median squared distance of two classes
    spread      its scatter within classes along these directions, as a multiple of what S says

A device contradicts the others where its agreement is too small for chance beside what is usual here, or shift or
spread are large and several times what is usual. Usual is the median of the fleet: devices that differ honestly (other
people, drifted sensors) move class means too, but seldom to where other classes are. Where the others' head is
right about few of the usual device's labels, nothing can be told and nobody is named.

The first look is in the metric of the training data, which no device can change, beside the weighted median of class
means over devices: so that up to a third of them may conspire. Whoever it names is taken out, and all are looked at
again beside the exact sum of the rest, until nothing changes; whom that sum does not contradict is not named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import Bools, Float32, Float64, Int64
from headway.maths import Moments, Statistics, blend, shrunk_covariance

# measured on honest and attacked fleets of benchmarks.attacks; each lies between them, and none is close to either
AGREEMENT_PART = 0.6  # of the usual agreement: what is asked of a device
CHANCE = 0.002  # that a device that has it shows so little
SHIFT_MIN, SHIFT_TIMES = 0.4, 5.0
# what means of so many samples vary: chi-squared, so many standard deviations above its mean
SHIFT_ERRORS = 3.0
SPREAD_MIN, SPREAD_TIMES, SPREAD_AGREEMENT = 3.0, 5.0, 0.9
# samples of the usual spread that stand beside a device's own, which are few
SPREAD_SAMPLES = 10.0
# who was named comes back where nothing is left of it
AGREEMENT_BACK, BACK = 0.75, 0.5
USUAL_MIN = 0.6
ROUNDS_MAX = 5
AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class Portrait:
    """What is kept of a device's tables. counts: float64 (C,); means: float32 (d, C), of the bundle's classes; spread:
    along the axes that were known when it came."""

    counts: Float64
    means: Float32
    spread: float


def joined_portrait(parts: Iterable[Portrait]) -> Portrait:
    """Of a device of which there are portraits of several epochs; at least one."""
    every = [*parts]
    if len(every) == 1:
        return every[0]
    counts: Float64 = np.sum([part.counts for part in every], axis=0)
    sums = np.sum([part.means * part.counts for part in every], axis=0)
    labels = [max(float(part.counts.sum()), 1e-9) for part in every]
    spread = float(np.average([part.spread for part in every], weights=labels))
    return Portrait(counts, (sums / np.maximum(counts, 1.0)).astype(np.float32), spread)


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one device beside the others. near: of its classes that lie closer to another class of the others than to
    their own, the one with most samples, and that other; usual_*: the median here."""

    labels: int
    agreement: float
    shift: float
    spread: float
    usual_agreement: float
    usual_shift: float
    near: tuple[str, str] | None
    named: bool
    back: bool

    def words(self) -> str:
        """What an operator is told."""
        agreed = round(self.agreement * self.labels)
        said = [
            f"the others' head would give {agreed} of its {self.labels} labels, usual here are "
            f"{self.usual_agreement:.0%}"
        ]
        if self.shift > SHIFT_MIN:
            said.append(
                f"its classes lie {math.sqrt(self.shift):.1f} class distances from where the others have them "
                f"(usual {math.sqrt(max(self.usual_shift, 0.0)):.1f})"
            )
        if self.near is not None:
            said.append(f"what it calls {self.near[0]!r} lies where they have {self.near[1]!r}")
        if self.spread > SPREAD_MIN:
            said.append(f"within a class its windows spread {self.spread:.1f} times as far as theirs")
        return "; ".join(said)


@dataclass(frozen=True, slots=True)
class _Beside:
    """What devices are compared with. inverse: of the covariance, float64 (d, d); means: float64 (d, C)."""

    inverse: Float64
    means: Float64

    def axes(self) -> Float64:
        """Directions that tell classes apart, float64 (d, C - 1), of length 1 in the metric."""
        centred = self.means - self.means.mean(axis=1, keepdims=True)
        values, vectors = np.linalg.eigh(centred.T @ self.inverse @ centred)
        values, vectors = values[1:], vectors[:, 1:]
        axes: Float64 = self.inverse @ centred @ vectors / np.sqrt(np.maximum(values, 1e-12))
        return axes


class Outliers:
    """Compares devices of one feature space. shrinkage: of covariances."""

    def __init__(self, source: Statistics, shrinkage: float) -> None:
        self._source, self._shrinkage = source, shrinkage
        self._classes = source.classes
        self._start: _Beside | None = None
        self._axes: Float64 | None = None

    def portrait(self, tables: Statistics) -> Portrait:
        """Of a device's tables; classes that the bundle does not have are not looked at."""
        counts, means = self._known(tables)
        if self._axes is None:
            self._axes = self._source_metric().axes()
        return Portrait(counts, means.astype(np.float32), self._spread(tables, self._axes))

    def judge(
        self,
        portraits: Mapping[str, Portrait],
        weights: Mapping[str, float],
        counted: Statistics,
        tables: Callable[[str], Statistics],
    ) -> dict[str, Finding]:
        """What is found of each device. weights: of those whose tables are in `counted`; tables: gives a device's own.

        Raises numpy.linalg.LinAlgError for a sum that has no covariance.
        """
        names = sorted(name for name, portrait in portraits.items() if portrait.counts.any())
        if not names:
            return {}
        counts = np.array([portraits[name].counts for name in names])
        means = np.array([portraits[name].means for name in names])
        shares = np.array([weights.get(name, 0.0) for name in names])
        heavy = shares[:, None] * counts
        metric = self._source_metric()
        beside = _Beside(metric.inverse, self._median(counts, means, np.maximum(shares, 1e-3)[:, None] * counts))
        spread = np.array([portraits[name].spread for name in names])
        agreement, shift, near = _compared(beside, counts, means, None)
        named = self._named(counts, agreement, shift, spread, np.ones(len(names), bool))
        for _ in range(ROUNDS_MAX):
            if named.sum() * 3 > len(names):
                # no majority that could be the measure
                break
            out = [names[place] for place in np.flatnonzero(named & (shares > 0))]
            rest = blend([(1.0, self._source), (1.0, counted), *((-weights[name], tables(name)) for name in out)])
            columns = [rest.classes.index(name) for name in self._classes]
            beside = _Beside(self._inverse(rest), rest.means()[:, columns])
            self._axes = beside.axes()
            own = np.where(named[:, None], 0.0, heavy)
            agreement, shift, near = _compared(beside, counts, means, (rest.counts[columns], own))
            suspects = np.flatnonzero(spread > 0.5 * self._spread_limit(spread, ~named))
            for place in suspects:
                spread[place] = self._spread(tables(names[place]), self._axes)
            before, named = named, self._named(counts, agreement, shift, spread, ~named)
            if (named == before).all():
                break
        return self._findings(names, counts, agreement, shift, spread, near, named)

    def _findings(
        self,
        names: Sequence[str],
        counts: Float64,
        agreement: Float64,
        shift: Float64,
        spread: Float64,
        near: Int64,
        named: Bools,
    ) -> dict[str, Finding]:
        many = named.sum() * 3 > len(names)
        usual, usual_shift = float(np.median(agreement[~named | many])), float(np.median(shift[~named | many]))
        shift_limit, spread_limit = _limit(shift, ~named | many), self._spread_limit(spread, ~named | many)
        found = {}
        for place, name in enumerate(names):
            moved = [label for label in np.flatnonzero(counts[place]) if near[place, label] != label]
            most = max(moved, key=counts[place].__getitem__, default=None)
            fine = agreement[place] >= AGREEMENT_BACK * usual and shift[place] < BACK * shift_limit
            found[name] = Finding(
                int(counts[place].sum()),
                float(agreement[place]),
                float(shift[place]),
                float(spread[place]),
                usual,
                usual_shift,
                None if most is None else (self._classes[most], self._classes[near[place, most]]),
                bool(named[place]) and not many,
                bool(fine and spread[place] < BACK * spread_limit),
            )
        return found

    def _named(self, counts: Float64, agreement: Float64, shift: Float64, spread: Float64, measure: Bools) -> Bools:
        """Who contradicts the others. measure: whose median is usual."""
        usual = float(np.median(agreement[measure]))
        if usual < USUAL_MIN:
            return np.zeros(len(counts), bool)
        unlikely = _chance(agreement, counts.sum(axis=1), AGREEMENT_PART * usual) < CHANCE
        # a sensor that is noisy, and right, contradicts nobody
        wide = (spread > self._spread_limit(spread, measure)) & (agreement < SPREAD_AGREEMENT * usual)
        named: Bools = unlikely | (shift > _limit(shift, measure)) | wide
        return named

    def _spread_limit(self, spread: Float64, measure: Bools) -> float:
        return max(SPREAD_MIN, SPREAD_TIMES * float(np.median(spread[measure])))

    def _known(self, tables: Statistics) -> tuple[Float64, Float64]:
        """Counts (C,) and means (d, C) of the bundle's classes."""
        column = {name: place for place, name in enumerate(tables.classes)}
        places = np.array([column.get(name, -1) for name in self._classes])
        sums = np.where(places >= 0, tables.class_sums[:, places], 0).astype(np.float64)
        return sums[-1], sums[:-1] / np.maximum(sums[-1], 1.0)

    def _spread(self, tables: Statistics, axes: Float64) -> float:
        """Scatter within classes along these axes, a degree of freedom and axis; 1 is what the covariance says."""
        sums = tables.class_sums[:-1].astype(np.float64).T @ axes
        inner = axes.T @ tables.gram[:-1, :-1].astype(np.float64) @ axes
        counts = np.maximum(tables.counts, 1).astype(np.float64)
        scatter = float(np.trace(inner)) - float((sums**2 / counts[:, None]).sum())
        freedom = float(tables.samples) - float((tables.counts > 0).sum())
        return float((scatter / axes.shape[1] + SPREAD_SAMPLES) / (freedom + SPREAD_SAMPLES))

    def _source_metric(self) -> _Beside:
        if self._start is None:
            moments = blend([(1.0, self._source)])
            self._start = _Beside(self._inverse(moments), moments.means())
        return self._start

    def _inverse(self, moments: Moments) -> Float64:
        """Of the covariance within classes."""
        freedom = float(moments.counts.sum()) - float((moments.counts > 0).sum())
        covariance = shrunk_covariance(moments.within_scatter(), freedom, self._shrinkage)
        return np.asarray(np.linalg.inv(covariance), np.float64)

    def _median(self, counts: Float64, means: Float32, heavy: Float64) -> Float64:
        """Of each class and feature the weighted median over devices, and over the source with a usual weight."""
        result = self._source_metric().means.copy()
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
        return result


def _compared(
    beside: _Beside, counts: Float64, means: Float32, own: tuple[Float64, Float64] | None
) -> tuple[Float64, Float64, Int64]:
    """Agreement (n,), shift (n,), and for each class of each device the class that lies nearest, int64 (n, C).

    own: samples behind `beside.means`, (C,), and what of these is a device's own, (n, C), which is taken off its means.
    """
    parts = []
    for start in range(0, len(counts), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        share = None if own is None else (own[0], own[1][part])
        parts.append(_compared_some(beside, counts[part], means[part].astype(np.float64), share))
    agreement, shift, near = (np.concatenate(some) for some in zip(*parts, strict=True))
    return agreement, shift, near


def _compared_some(
    beside: _Beside, counts: Float64, means: Float64, own: tuple[Float64, Float64] | None
) -> tuple[Float64, Float64, Int64]:
    classes = counts.shape[1]
    projected = beside.inverse @ beside.means
    # all that follows is made of products in the metric: of class means with each other, and with the device's
    between = np.broadcast_to(beside.means.T @ projected, (len(counts), classes, classes))
    across = np.einsum("dk,ndc->nkc", projected, means, optimize=True)
    if own is not None:
        inner = np.einsum("ndk,ndc->nkc", np.einsum("de,nec->ndc", beside.inverse, means, optimize=True), means)
        rest = own[0] - own[1]
        alone = rest < 1e-6
        rest = np.where(alone, 1.0, rest)
        more, less = np.where(alone, 1.0, own[0] / rest), np.where(alone, 0.0, own[1] / rest)
        mixed = more[:, :, None] * less[:, None, :] * across
        between = more[:, :, None] * more[:, None, :] * between - mixed - mixed.transpose(0, 2, 1)
        between = between + less[:, :, None] * less[:, None, :] * inner
        across = more[:, :, None] * across - less[:, :, None] * inner
    squares = np.einsum("nkk->nk", between)
    logits = across - 0.5 * squares[:, :, None]
    apart = squares[:, :, None] + squares[:, None, :] - 2.0 * between
    diagonal = np.arange(classes)
    margin = logits[:, diagonal, diagonal][:, None, :] - logits
    likely = _normal(margin / np.sqrt(np.maximum(apart, 1e-9)))
    likely[:, diagonal, diagonal] = 1.0
    labels = np.maximum(counts.sum(axis=1), 1.0)
    agreement = (likely.min(axis=1) * counts).sum(axis=1) / labels
    moved = across - between
    moved = moved - moved.mean(axis=1, keepdims=True)
    centred = between - between.mean(axis=1, keepdims=True)
    centred = centred - centred.mean(axis=2, keepdims=True)
    floor = 1e-9 * np.maximum(np.einsum("nkk->n", centred), 1e-9)
    solved = np.linalg.solve(centred + floor[:, None, None] * np.eye(classes), moved)
    far = np.einsum("nkc,nkc->nc", moved, solved)
    expected = (counts > 0).sum(axis=1) * (classes - 1)
    upper = np.triu_indices(classes, 1)
    unit = np.maximum(np.median(apart[:, upper[0], upper[1]], axis=1), 1e-9)
    varies = expected + SHIFT_ERRORS * np.sqrt(2.0 * expected)
    shift = ((far * counts).sum(axis=1) - varies) / labels / unit
    return agreement, shift, logits.argmax(axis=1)


def _limit(shift: Float64, measure: Bools) -> float:
    return max(SHIFT_MIN, SHIFT_TIMES * float(np.median(shift[measure])))


def _chance(share: Float64, labels: Float64, least: float) -> Float64:
    """At most so likely is it that of so many labels so small a share agrees, if each agrees with probability `least`:
    exp(-n KL(share, least)) (Chernoff)."""
    p = np.clip(share, 1e-12, 1.0 - 1e-12)
    divergence = p * np.log(p / least) + (1.0 - p) * np.log((1.0 - p) / (1.0 - least))
    bound: Float64 = np.where(share < least, np.exp(-labels * divergence), 1.0)
    return bound


def _normal(values: Float64) -> Float64:
    """The standard normal distribution function, to 1e-7 (Abramowitz & Stegun 7.1.26)."""
    x = np.abs(values) / math.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    upper = 0.5 * series * np.exp(-np.minimum(x * x, 700.0))
    result: Float64 = np.where(values >= 0, 1.0 - upper, upper)
    return result
