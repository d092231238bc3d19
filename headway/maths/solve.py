"""Computes a head from statistics, in closed form and float64.

A blend `source + fleet + w * local` is a weighted sum of integer tables; solvers work on its moments, and the
resulting heads multiply int8 codes directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from headway.arrays import Float64
from headway.errors import LocalError
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.statistics import Statistics, panel_rows, union_of_classes

# below it a general inverse is as fast as products of small blocks
INVERSE_LEAF = 64
# of an inverse by halves, on a vector of signs; beyond it heads would change in their float32 digits
RESIDUAL_MAX = 1e-6


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted sums of tables. gram: float64 (D, D); class_sums: float64 (D, C), the last row weighted counts."""

    gram: Float64
    class_sums: Float64
    classes: tuple[str, ...]

    @property
    def counts(self) -> Float64:
        """Weighted samples per class, float64 (C,)."""
        counts: Float64 = self.class_sums[-1]
        return counts

    def means(self) -> Float64:
        """Class means, float64 (d, C); zero for a class without samples."""
        result: Float64 = self.class_sums[:-1] / np.maximum(self.counts, 1e-12)
        return result

    def within_scatter(self) -> Float64:
        """Sum over samples of (q - mean of its class)(...)^T, float64 (d, d)."""
        means = self.means()
        result: Float64 = self.gram[:-1, :-1] - (means * self.counts) @ means.T
        return result


def blend(parts: Iterable[tuple[float, Statistics]], begun: Moments | None = None) -> Moments:
    """Weighted sum of tables over the union of their classes, e.g. [(1, source), (w, local)].

    Gone through once, no two of them held together. begun: a sum to go on from, which stays as it is.
    """
    total = None if begun is None else Moments(begun.gram.copy(), begun.class_sums.copy(), begun.classes)
    for weight, part in parts:
        if total is None:
            full = part.size + 1
            total = Moments(np.zeros((full, full)), np.zeros((full, 0)), ())
        classes = union_of_classes(total.classes, part.classes)
        more = len(classes) - len(total.classes)
        if more:
            total = Moments(total.gram, np.pad(total.class_sums, ((0, 0), (0, more))), classes)
        np.add(total.gram, weight * part.gram, out=total.gram)
        np.add(total.class_sums, weight * part.with_classes(classes).class_sums, out=total.class_sums)
    if total is None:
        raise LocalError("blend needs at least one table")
    return total


def shrunk_covariance(scatter: Float64, freedom: float, shrinkage: float) -> Float64:
    """(1 - a) S / freedom + a * mean variance * I (Ledoit & Wolf 2004, with a fixed a). float64 (d, d)."""
    covariance = scatter / max(freedom, 1.0)
    size = len(covariance)
    variance = max(float(np.trace(covariance)) / size, 1e-9)
    result: Float64 = (1.0 - shrinkage) * covariance
    result[np.diag_indices(size)] += shrinkage * variance
    return result


def add_product(total: Float64, left: Float64, right: Float64) -> None:
    """Add left @ right to `total`, in blocks of rows, so that no second matrix of its size is needed."""
    rows = panel_rows(len(total))
    for start in range(0, len(total), rows):
        total[start : start + rows] += left[start : start + rows] @ right


def definite_inverse(matrix: Float64) -> Float64:
    """Inverse of a symmetric positive definite matrix, float64 (d, d); `matrix` stays as it is.

    Raises numpy.linalg.LinAlgError for a singular matrix.
    """
    return inverse_of_built(matrix.copy)


def inverse_of_built(build: Callable[[], Float64]) -> Float64:
    """Inverse of the symmetric positive definite matrix that `build` makes, float64 (d, d), in that matrix's memory.

    By halves where that is exact enough, else the general way, for which the matrix is built once more: products of
    halves lose about three digits more, which is nothing up to condition numbers of 1e8 and everything at 1e12
    (measured in the tests). One product with a fixed vector tells.
    Raises numpy.linalg.LinAlgError for a singular matrix.
    """
    matrix = build()
    probe = _probe(len(matrix))
    image = matrix @ probe
    _invert_by_halves(matrix)
    if float(np.abs(matrix @ image - probe).max()) <= RESIDUAL_MAX:
        return matrix
    del matrix
    return np.asarray(np.linalg.inv(build()), np.float64)


@lru_cache(maxsize=2)
def _probe(size: int) -> Float64:
    """Signs without a pattern that a matrix could share, float64 (size,)."""
    return np.where(np.sin(np.arange(1.0, size + 1) ** 2) < 0, -1.0, 1.0)


def _invert_by_halves(matrix: Float64) -> None:
    """With A = [[E, F], [F', G]] and the Schur complement S = G - F' E^-1 F,

    A^-1 = [[E^-1 + E^-1 F S^-1 F' E^-1, -E^-1 F S^-1], [., S^-1]], written over A. Nearly all work is in matrix
    products, some times faster than a general inverse; no pivoting is needed where all parts are definite (Higham,
    Accuracy and Stability of Numerical Algorithms, 2nd ed., chapters 10 and 14). Each part is made exactly symmetric
    again: without that, errors grow with the square of the condition number.
    """
    size = len(matrix)
    if size <= INVERSE_LEAF:
        inverse = np.linalg.inv(matrix)
        matrix[...] = 0.5 * (inverse + inverse.T)
        return
    half = size // 2
    first, border, second = matrix[:half, :half], matrix[:half, half:], matrix[half:, half:]
    _invert_by_halves(first)
    across = first @ border
    second -= border.T @ across
    _invert_by_halves(second)
    shared = across @ second
    first += shared @ across.T
    first[...] = 0.5 * (first + first.T)
    np.negative(shared, out=border)
    matrix[half:, :half] = border.T


def lda_head(covariance: Float64, means: Float64, priors: Float64, classes: tuple[str, ...]) -> Head:
    """Linear discriminant analysis: kernel = S^-1 M, bias_c = -1/2 m_c^T S^-1 m_c + log prior_c.

    covariance: float64 (d, d) positive definite; means: float64 (d, C); priors: float64 (C,), 0 silences a class.
    Raises numpy.linalg.LinAlgError for a covariance that is singular or not finite.
    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, eq. 4.10.
    """
    kernel = np.linalg.solve(covariance, means)
    if not np.isfinite(kernel).all():
        raise np.linalg.LinAlgError("the solution is not finite")
    with np.errstate(divide="ignore"):
        log_priors = np.where(priors > 0, np.log(np.maximum(priors, 1e-300)), -1e4)
    bias = -0.5 * np.einsum("dc,dc->c", means, kernel) + log_priors
    return Head(kernel.astype(np.float32), bias.astype(np.float32), HeadKind.SOFTMAX, classes, HeadInput.CODES)


def fleet_head(source: Statistics, devices: Statistics, shrinkage: float = 0.02) -> Head:
    """The head the aggregator publishes: LDA on the union of the source and everything the fleet learned.

    Class priors are uniform: how often a class occurs differs from device to device.
    """
    moments = blend([(1.0, source), (1.0, devices)])
    present = moments.counts > 0
    freedom = float(moments.counts.sum()) - float(present.sum())
    covariance = shrunk_covariance(moments.within_scatter(), freedom, shrinkage)
    priors = np.where(present, 1.0 / max(int(present.sum()), 1), 0.0)
    return lda_head(covariance, moments.means(), priors, moments.classes)
