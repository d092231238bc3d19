"""How far a head of some statistics is right about a device of which only sums are known.

With M_c the class means behind the head, S their covariance within classes, m_c, n_c and W of the device:

    agreement   share of its labels that the head would give, if its windows of class c are normal about m_c with its
                own covariance W: sum_c n_c prod_o Phi(margin of c over o / its deviation) / n
    error       mean of |y - p(x)|^2 over its windows, y its labels as 0 and 1, p the linear regression of classes on
                windows that M and S make, every class as frequent: p(x) = 1/C + (C I + K)^-1 A'(x - mean of M), with
                A = S^-1 (M - mean of M), K = A'S A. It follows from sums without any assumption, but for W/n. Who
                knows nothing answers 1/C: its error is 1 - 1/C, whatever the labels
    shift       mean of |m_c - M_c|^2 in the metric S^-1, along the directions that tell classes apart, less what n_c
                samples vary; in units of the median squared distance of two classes
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from headway.arrays import Float64, Int64
from headway.maths import Moments, Statistics, panels_of, shrunk_covariance

# what means of so many samples vary: chi-squared, so many standard deviations above its mean
SHIFT_ERRORS = 3.0
# samples of the covariance behind the head that stand beside a device's own, which are few
USUAL_SAMPLES = 10.0
AT_ONCE = 128


@dataclass(frozen=True)
class Measure:
    """What devices are compared with. inverse: of the covariance, float64 (d, d); means: float64 (d, C)."""

    inverse: Float64
    means: Float64

    @classmethod
    def of(cls, moments: Moments, columns: list[int], shrinkage: float) -> Measure:
        """columns: of the bundle's classes. Raises numpy.linalg.LinAlgError where there is no inverse."""
        freedom = float(moments.counts.sum()) - float((moments.counts > 0).sum())
        covariance = shrunk_covariance(moments.within_scatter(), freedom, shrinkage)
        return cls(np.asarray(np.linalg.inv(covariance), np.float64), moments.means()[:, columns])

    @cached_property
    def projected(self) -> Float64:
        """The means as directions of the linear discriminant, float64 (d, C)."""
        result: Float64 = self.inverse @ self.means
        return result

    @cached_property
    def turns(self) -> Float64:
        """What makes `axes` of `projected`, float64 (C, C - 1)."""
        centring = np.eye(self.means.shape[1]) - 1.0 / self.means.shape[1]
        values, vectors = np.linalg.eigh(centring @ (self.means.T @ self.projected) @ centring)
        result: Float64 = centring @ vectors[:, 1:] / np.sqrt(np.maximum(values[1:], 1e-12))
        return result

    def axes(self) -> Float64:
        """Directions that tell classes apart, float64 (d, C - 1), of length 1 in the metric."""
        result: Float64 = self.projected @ self.turns
        return result


@dataclass(frozen=True, slots=True)
class Compared:
    """Of n devices, float64 (n,); near: for each class the class of the head that lies nearest, int64 (n, C)."""

    agreement: Float64
    error: Float64
    shift: Float64
    near: Int64

    @classmethod
    def nothing(cls, count: int, classes: int) -> Compared:
        """Of so many devices of which nothing is known yet."""
        agreement, error, shift = np.full((3, count), np.nan)
        return cls(agreement, error, shift, np.zeros((count, classes), np.int64))

    @classmethod
    def joined(cls, parts: list[Compared]) -> Compared:
        agreement, error, shift = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("agreement", "error", "shift")
        )
        return cls(agreement, error, shift, np.concatenate([part.near for part in parts]))

    def put(self, places: Sequence[int], better: Compared) -> None:
        """What is known better of some devices."""
        self.agreement[places], self.error[places] = better.agreement, better.error
        self.shift[places], self.near[places] = better.shift, better.near


def compare(
    measure: Measure, counts: Float64, means: Float64, spread: Float64, own: tuple[Float64, Float64] | None
) -> Compared:
    """Devices by their class means, counts (n, C) and means (n, d, C); W as `spread` (n,) times S has it.

    own: samples behind `measure.means`, (C,), and what of these is a device's own, (n, C), which is taken off them.
    """
    parts = []
    for start in range(0, len(counts), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        share = None if own is None else (own[0], own[1][part])
        some = means[part].astype(np.float64)
        between, across = _products(measure, counts[part], some, share)
        parts.append(_figures(between, across, spread[part, None, None] * between, counts[part]))
    return Compared.joined(parts)


@dataclass(frozen=True, slots=True)
class Close:
    """A device beside a measure with nothing of it. between, across: see `_products`; within: covariance of its logits
    within its classes; all float64 (C, C). counts: float64 (C,); spread: as `spread_along` the measure's axes."""

    between: Float64
    across: Float64
    within: Float64
    counts: Float64
    spread: float

    @classmethod
    def of(cls, measure: Measure, counts: Float64, means: Float64, tables: Statistics) -> Close:
        """counts (C,), means (d, C): of the bundle's classes; the tables are gone through once."""
        projected, turns = measure.projected, measure.turns
        between = measure.means.T @ projected
        freedom = float(tables.samples) - float(np.count_nonzero(tables.counts > 0))
        sums = tables.class_sums[:-1].astype(np.float64).T @ projected
        scatter = np.zeros(between.shape)
        for start, stop in panels_of(tables.size):
            # a few rows at a time: they are in the processor's cache then
            scatter += projected[start:stop].T @ (tables.gram[start:stop, :-1].astype(np.float64) @ projected)
        scatter -= (sums / np.maximum(tables.counts, 1)[:, None]).T @ sums
        within = (scatter + USUAL_SAMPLES * between) / (freedom + USUAL_SAMPLES)
        along = float(np.vdot(turns, scatter @ turns)) / turns.shape[1]
        return cls(between, projected.T @ means, within, counts, (along + USUAL_SAMPLES) / (freedom + USUAL_SAMPLES))


def compare_closely(devices: Iterable[Close]) -> Compared:
    """Devices, one at least, with their own covariance. Gone through once."""
    parts, each = [], iter(devices)
    while some := [*islice(each, AT_ONCE)]:
        of = (np.stack([getattr(one, name) for one in some]) for name in ("between", "across", "within", "counts"))
        parts.append(_figures(*of))
    return Compared.joined(parts)


def spread_along(tables: Statistics, axes: Float64) -> float:
    """Scatter within classes along these axes, a degree of freedom and axis; 1 is what the covariance says."""
    counts = tables.counts
    sums = tables.class_sums[:-1].astype(np.float64).T @ axes
    sums *= sums
    # of axes^T G axes the trace alone, a few rows at a time: they are in the processor's cache then. What lies right of
    # the diagonal blocks counts for what mirrors it, too
    along, twice = 0.0, 2.0 * axes
    for start, stop in panels_of(tables.size):
        twice[start:stop] = axes[start:stop]
        along += float(np.vdot(axes[start:stop], tables.gram[start:stop, start:-1].astype(np.float64) @ twice[start:]))
    scatter = along - float((sums.sum(axis=1) / np.maximum(counts, 1)).sum())
    freedom = float(tables.samples) - float(np.count_nonzero(counts > 0))
    return float((scatter / axes.shape[1] + USUAL_SAMPLES) / (freedom + USUAL_SAMPLES))


def _products(
    measure: Measure, counts: Float64, means: Float64, own: tuple[Float64, Float64] | None
) -> tuple[Float64, Float64]:
    """Products in the metric, (n, C, C): of class means with each other, and with the device's."""
    classes = counts.shape[1]
    between: Float64 = np.broadcast_to(measure.means.T @ measure.projected, (len(counts), classes, classes))
    across: Float64 = measure.projected.T @ means
    if own is None:
        return between, across
    # one product for all: many small ones take several times as long
    beside = means.transpose(1, 0, 2).reshape(means.shape[1], -1)
    solved = (measure.inverse @ beside).reshape(means.shape[1], len(means), classes)
    inner = means.transpose(0, 2, 1) @ solved.transpose(1, 0, 2)
    rest = own[0] - own[1]
    alone = rest < 1e-6
    rest = np.where(alone, 1.0, rest)
    more, less = np.where(alone, 1.0, own[0] / rest), np.where(alone, 0.0, own[1] / rest)
    mixed = more[:, :, None] * less[:, None, :] * across
    between = more[:, :, None] * more[:, None, :] * between - mixed - mixed.transpose(0, 2, 1)
    between = between + less[:, :, None] * less[:, None, :] * inner
    across = more[:, :, None] * across - less[:, :, None] * inner
    return between, across


def _figures(between: Float64, across: Float64, within: Float64, counts: Float64) -> Compared:
    """between, across: see `_products`; within: covariance of a device's logits within its classes. All (n, C, C)."""
    classes = counts.shape[1]
    diagonal, labels = np.arange(classes), np.maximum(counts.sum(axis=1), 1.0)
    squares = np.einsum("nkk->nk", between)
    logits = across - 0.5 * squares[:, :, None]
    margin = logits[:, diagonal, diagonal][:, None, :] - logits
    variance = np.einsum("nkk->nk", within)
    variance = variance[:, :, None] + variance[:, None, :] - 2.0 * within
    likely = _normal(margin / np.sqrt(np.maximum(variance, 1e-9)))
    likely[:, diagonal, diagonal] = 1.0
    agreement = (likely.prod(axis=1) * counts).sum(axis=1) / labels
    centred = _centred(_centred(between, 1), 2)
    answers = np.linalg.inv(classes * np.eye(classes) + centred)
    given = 1.0 / classes + answers @ _centred(across - between.mean(axis=2, keepdims=True), 1)
    vary = np.einsum("nkl,nlm,nkm->n", answers, _centred(_centred(within, 1), 2), answers, optimize=True)
    right = np.einsum("nkk,nk->n", given, counts)
    error = 1.0 + vary + (((given**2).sum(axis=1) * counts).sum(axis=1) - 2.0 * right) / labels
    return Compared(agreement, error, _shift(between, across, centred, counts), logits.argmax(axis=1))


def _shift(between: Float64, across: Float64, centred: Float64, counts: Float64) -> Float64:
    classes = counts.shape[1]
    squares = np.einsum("nkk->nk", between)
    apart = squares[:, :, None] + squares[:, None, :] - 2.0 * between
    moved = _centred(across - between, 1)
    floor = 1e-9 * np.maximum(np.einsum("nkk->n", centred), 1e-9)
    solved = np.linalg.solve(centred + floor[:, None, None] * np.eye(classes), moved)
    far = np.einsum("nkc,nkc->nc", moved, solved)
    expected = (counts > 0).sum(axis=1) * (classes - 1)
    upper = np.triu_indices(classes, 1)
    unit = np.maximum(np.median(apart[:, upper[0], upper[1]], axis=1), 1e-9)
    varies = expected + SHIFT_ERRORS * np.sqrt(2.0 * expected)
    labels = np.maximum(counts.sum(axis=1), 1.0)
    shift: Float64 = ((far * counts).sum(axis=1) - varies) / labels / unit
    return shift


def _centred(products: Float64, axis: int) -> Float64:
    result: Float64 = products - products.mean(axis=axis, keepdims=True)
    return result


def _normal(values: Float64) -> Float64:
    """The standard normal distribution function, to 1e-7 (Abramowitz & Stegun 7.1.26)."""
    x = np.abs(values) / math.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    upper = 0.5 * series * np.exp(-np.minimum(x * x, 700.0))
    result: Float64 = np.where(values >= 0, 1.0 - upper, upper)
    return result


def spreads_along(every: Sequence[Statistics], axes: Float64, square: Float64) -> Float64:
    """`spread_along` of several, float64 (n,), whose tables have the same classes. square: axes axes^T."""
    class_sums = np.array([tables.class_sums for tables in every], np.float64)
    sums = class_sums[:, :-1].transpose(0, 2, 1) @ axes
    sums *= sums
    counts = class_sums[:, -1]
    scatter = -(sums.sum(axis=2) / np.maximum(counts, 1.0)).sum(axis=1)
    # the trace of axes^T G axes is the product of G and axes axes^T, entry by entry. Another process may have written
    # the tables, so that each number has to come from afar: of what mirrors each other, one half is asked for
    for start, stop in panels_of(every[0].size):
        rows, corner = square[start:stop, start:], stop - start
        for place, tables in enumerate(every):
            panel = tables.gram[start:stop, start:-1].astype(np.float64)
            beside = np.einsum("ij,ij->", panel, rows)
            scatter[place] += 2.0 * beside - np.einsum("ij,ij->", panel[:, :corner], rows[:, :corner])
    freedom = counts.sum(axis=1) - np.count_nonzero(counts > 0, axis=1)
    result: Float64 = (scatter / axes.shape[1] + USUAL_SAMPLES) / (freedom + USUAL_SAMPLES)
    return result
