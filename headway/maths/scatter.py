"""Proves that the scatter within classes of some tables is that of samples: positive semidefinite, as a sum of squares.

    W  =  G - sum_c b_c b_c^T / n_c,    W + SCATTER_TOLERANCE tr(G) I  has a Cholesky factor

The gram may come in panels (blocks of rows from their diagonal on), so that each number is in the processor's cache
when it is worked on. Of symmetric matrices the upper part alone is written and read.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from headway.arrays import AnyArray, Float64, Int64

# how far below zero, relative to the trace of the gram, rounding in float64 may put an eigenvalue of the scatter:
# forming and factorising it errs by less than (C + d) 2^-52 of that trace
SCATTER_TOLERANCE = 1e-11
# a panel of 321 columns of float64 takes 164 KB
PANEL_ROWS, SMALL_ROWS = 64, 96

# NumPy's own factorisation. It writes where it is told to, by columns as LAPACK leaves the factor; what
# np.linalg.cholesky makes by rows costs a copy across, a third of all its time at d = 320
_FACTORISE = getattr(getattr(np.linalg, "_umath_linalg", None), "cholesky_lo", None)


@lru_cache(maxsize=64)
def panels_of(size: int) -> tuple[tuple[int, int], ...]:
    """First row and end of each panel of a matrix of so many rows; a small one is a single panel."""
    rows = PANEL_ROWS if size > SMALL_ROWS else max(size, 1)
    return tuple((start, min(start + rows, size)) for start in range(0, size, rows))


def put_panel(gram: Int64, start: int, panel: AnyArray) -> None:
    """Write rows of a symmetric table, and what mirrors them.

    gram: int64 (d + 1, d + 1), whose last row and column are left alone; panel: whole numbers (b, d - start), the rows
    from `start` on, from column `start` on.
    """
    stop = start + len(panel)
    gram[start:stop, start:-1] = panel
    gram[stop:-1, start:stop] = gram[start:stop, stop:-1].T


class WithinScatter:
    """W of tables whose gram comes in panels. class_sums: int64 (d + 1, C)."""

    def __init__(self, class_sums: Int64) -> None:
        sums = class_sums[:-1].astype(np.float64)
        self._sums: Float64 = np.ascontiguousarray(sums.T)
        self._means: Float64 = sums / np.maximum(class_sums[-1], 1.0)
        # the upper part; nothing else is ever looked at
        self._scatter: Float64 = np.empty((len(sums), len(sums)))
        self._trace = 0.0

    def put(self, start: int, panel: Float64) -> None:
        """panel: whole numbers, float64 (b, d - start), the rows of G from `start` on, from column `start` on."""
        stop = start + len(panel)
        self._trace += float(np.trace(panel))
        explained = self._means[start:stop] @ self._sums[:, start:]
        np.subtract(panel, explained, out=self._scatter[start:stop, start:])

    def is_real(self) -> bool:
        """Whether W + tolerance has a Cholesky factor, once all panels were put; False for a trace of zero. Once."""
        if not self._trace:
            return False
        scatter = self._scatter
        scatter[np.diag_indices(len(scatter))] += SCATTER_TOLERANCE * self._trace
        return has_factor(scatter)


def has_real_scatter(gram: Int64, class_sums: Int64) -> bool:
    """Whether W + tolerance has a Cholesky factor; without feature or sample there is nothing to ask.

    gram: int64 (d + 1, d + 1); class_sums: int64 (d + 1, C).
    """
    inner = gram[:-1, :-1]
    if not np.trace(inner, dtype=np.float64):
        return not inner.any() and not class_sums[:-1].any()
    scatter = WithinScatter(class_sums)
    for start, stop in panels_of(len(inner)):
        scatter.put(start, inner[start:stop, start:].astype(np.float64))
    return scatter.is_real()


def has_factor(upper: Float64) -> bool:
    """Whether a symmetric matrix, of which the upper part is given, float64 (n, n), has a Cholesky factor."""
    if _FACTORISE is None:
        try:
            np.linalg.cholesky(upper.T)
        except np.linalg.LinAlgError:
            return False
        return True
    factor = np.empty(upper.shape, np.float64, order="F")
    with np.errstate(invalid="ignore"):  # how it says that there is none, beside a result of NaN
        _FACTORISE(upper.T, out=factor)
    return not factor.size or not np.isnan(factor[0, 0])
