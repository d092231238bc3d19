"""The inverse of a prior's scatter plus that of the labels, whole or from few rows.

Few labels add a matrix of low rank to what the prior says. With V diag(a) V^T the prior's part in its own axes and
U^T U that of the labels, U (r, d), the Woodbury identity (Golub & Van Loan, Matrix Computations, 4th ed., 2.1.4) needs
a system of r equations instead of d, and V is the same for every solution, whatever the training data counts for:

    (V diag(a) V^T + U^T U)^-1 = V (D - D Û^T (I + Û D Û^T)^-1 Û D) V^T,     Û = U V,  D = diag(1 / a)

Both forms are used alike: vectors go `into` the axes of the inverse, are multiplied there, and come `out` again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from headway.arrays import Float64, Int8, large_zeros
from headway.maths.sums import RowSums


class Inverse(Protocol):
    """Vectors are rows, float64 (m, d)."""

    def into(self, vectors: Float64) -> Float64: ...

    def times(self, vectors: Float64) -> Float64:
        """The inverse times vectors, both in its axes."""

    def out(self, vectors: Float64) -> Float64: ...


@dataclass(frozen=True, slots=True)
class WholeInverse:
    """matrix: float64 (d, d)."""

    matrix: Float64

    def into(self, vectors: Float64) -> Float64:
        return vectors

    def times(self, vectors: Float64) -> Float64:
        return vectors @ self.matrix

    def out(self, vectors: Float64) -> Float64:
        return vectors


class LowRankInverse:
    """axes: V, float64 (d, d); diagonal: a, float64 (d,), positive; rows: U V, float64 (r, d)."""

    def __init__(self, axes: Float64, diagonal: Float64, rows: Float64) -> None:
        self._axes, self._scale = axes, 1.0 / diagonal
        self._rows = rows
        inner = (rows * self._scale) @ rows.T
        inner[np.diag_indices(len(rows))] += 1.0
        self._inner: Float64 = np.asarray(np.linalg.inv(inner), np.float64)

    def into(self, vectors: Float64) -> Float64:
        return vectors @ self._axes

    def times(self, vectors: Float64) -> Float64:
        result: Float64 = vectors * self._scale
        result -= (((result @ self._rows.T) @ self._inner) @ self._rows) * self._scale
        return result

    def out(self, vectors: Float64) -> Float64:
        return vectors @ self._axes.T


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A symmetric matrix as V diag(values) V^T. axes: V, float64 (d, d); values: float64 (d,)."""

    axes: Float64
    values: Float64

    @classmethod
    def of(cls, matrix: Float64) -> Spectrum:
        values, axes = np.linalg.eigh(matrix)
        kept = large_zeros(*matrix.shape)
        kept[...] = axes
        return cls(kept, np.asarray(values, np.float64))


@dataclass(frozen=True, slots=True)
class FewRows:
    """Labelled rows and the means of the training data in the axes of a spectrum, which all solutions share.

    turned: the rows, float64 (n, d); means: float64 (C, d), a row for each of the rows' classes.
    """

    spectrum: Spectrum
    sums: RowSums
    turned: Float64
    means: Float64

    @classmethod
    def of(cls, spectrum: Spectrum, sums: RowSums, means: Float64) -> FewRows:
        """means: those of the training data for `sums.classes`, float64 (d, C)."""
        both = np.concatenate([sums.codes.astype(np.float64), means.T]) @ spectrum.axes
        return cls(spectrum, sums, both[: sums.samples], both[sums.samples :])

    def newest(self, count: int) -> FewRows:
        start = max(self.sums.samples - count, 0)
        return FewRows(self.spectrum, self.sums.newest(count), self.turned[start:], self.means)

    def with_means(self, means: Float64) -> FewRows:
        """Beside other means of a prior, float64 (d, C)."""
        return FewRows(self.spectrum, self.sums, self.turned, means.T @ self.spectrum.axes)

    def within_classes(self) -> tuple[Float64, Float64]:
        """Each row less the mean of its class, float64 (n, d), and these means, float64 (C, d), 0 without rows."""
        labels, counts = self.sums.labels, self.sums.counts
        chosen = np.zeros((len(counts), len(labels)))
        chosen[labels, np.arange(len(labels))] = 1.0 / np.maximum(counts, 1)[labels]
        means: Float64 = chosen @ self.turned
        return self.turned - means[labels], means

    def into(self, codes: Int8) -> Float64:
        """Rows in these axes; nothing is computed for those that are here already, at the end. int8 (n, d)."""
        newest = self.newest(len(codes))
        if np.array_equal(newest.sums.codes, codes):
            return newest.turned
        return codes.astype(np.float64) @ self.spectrum.axes
