"""Adds Gaussian noise to what a head is solved from: the sums of codes and the number of labels of each class.

One label adds int8 codes of d features to one column of the sums and 1 to its count, so its reach is known exactly
and needs nobody's word:

    |codes| <= 127 sqrt(d)         |count| = 1

and m labels of one device reach m times as far. With noise of standard deviation s_B on every sum and s_n on every
count, sharing one multiplier z (a Gaussian mechanism of sensitivity 1 and deviation z):

    s_B = z sqrt(5/4) reach 127 sqrt(d)     s_n = z sqrt(5) reach      since 1/z^2 = 4/(5 z^2) + 1/(5 z^2)

The Gram matrix is left out: its reach is 127^2 d, and the scatter of the training data stands in its place. All that
follows is computed from noisy sums alone, and tells no more than these. Noise comes from the system's generator.
Source: Dwork & Roth 2014, appendix A; Balle & Wang 2018 for the exact noise.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from headway.arrays import Float64
from headway.maths import CODE_MAX, Statistics

Normal = Callable[[int], Float64]


def deviations(size: int, multiplier: float, reach: int) -> tuple[float, float]:
    """Standard deviations of the noise on each sum of codes, and on each count. size: codes of a sample; reach: labels
    of one unit."""
    return multiplier * (5 / 4) ** 0.5 * reach * CODE_MAX * size**0.5, multiplier * 5**0.5 * reach


def noisy(class_sums: Float64, multiplier: float, reach: int, normal: Normal | None = None) -> Float64:
    """The same with noise, as whole numbers. class_sums: float64 (d + 1, C), the last row counts; normal: so many
    standard normal numbers, by default of the system's generator."""
    on_sums, on_counts = deviations(len(class_sums) - 1, multiplier, reach)
    drawn = (normal or system_normal)(class_sums.size).reshape(class_sums.shape)
    scale = np.full((len(class_sums), 1), on_sums)
    scale[-1] = on_counts
    result: Float64 = np.rint(class_sums + drawn * scale)
    return result


def believed(sums: Float64, source: Statistics, multiplier: float, reach: int) -> Statistics:
    """Tables to solve a head from, of `noisy` sums, float64 (d + 1, C) for the source's classes.

    The mean of a class is as sure as n samples with the training data's variance v, and as the noise on it: it counts
    as n / (1 + s_B^2 / (n v)) samples. So the more noise, the less the fleet counts beside the training data.
    """
    scatter, variance = _within(source)
    on_sums, _ = deviations(source.size, multiplier, reach)
    counts = np.maximum(sums[-1], 0.0)
    means = np.clip(sums[:-1] / np.maximum(counts, 1.0), -CODE_MAX, CODE_MAX)
    worth = np.floor(counts / (1.0 + on_sums**2 / np.maximum(counts * variance, 1e-9)))
    class_sums = np.vstack([np.rint(means * worth), worth])
    inner = (class_sums[:-1] / np.maximum(worth, 1.0)) @ class_sums[:-1].T
    inner += scatter * float(worth.sum()) / max(source.samples, 1)
    gram = np.zeros((len(sums), len(sums)), np.int64)
    gram[:-1, :-1] = np.rint(0.5 * (inner + inner.T)).astype(np.int64)
    whole = class_sums.astype(np.int64)
    gram[-1] = gram[:, -1] = whole.sum(axis=1)
    return Statistics(gram, whole, source.classes, source.space)


def system_normal(count: int) -> Float64:
    """Standard normal numbers, float64 (count,), of the operating system's generator (Box & Muller 1958)."""
    pairs = -(-count // 2)
    raw = np.frombuffer(os.urandom(16 * pairs), np.uint64).reshape(2, pairs)
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log(uniform[0])), 2.0 * np.pi * uniform[1]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def _within(source: Statistics) -> tuple[Float64, float]:
    """The training data's scatter within classes, float64 (d, d), and its mean variance of a code."""
    sums = source.class_sums[:-1].astype(np.float64)
    scatter: Float64 = source.gram[:-1, :-1] - (sums / np.maximum(source.counts, 1)) @ sums.T
    return scatter, max(float(np.trace(scatter)) / max(source.samples * source.size, 1), 1e-9)
