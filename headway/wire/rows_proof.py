"""Proves from a factor of a Gram matrix that the scatter within classes is positive semidefinite, without Cholesky.

Tables that travel as a few rows (headway/wire/pivot_rows.py) come with a factor Y, float64 (r, d), of their Gram
matrix: G = Y^T Y + E with E no more than rounding. Let N be the counts, S = B N^-1/2 the class sums over the roots of
their counts, Z any matrix (r, C), F = S - Y^T Z. Then

    W  =  G - S S^T  =  Y^T (I - Z Z^T) Y  -  Y^T Z F^T  -  F Z^T Y  -  F F^T  +  E

so with |Z|^2 <= 1 + a no eigenvalue of W is below -(a |Y|^2 + 2 |F| |Y| sqrt(1 + a) + |F|^2 + |E|). Whatever errors Y
and Z have, this holds, for F and E are computed from them. It costs products with r rows where Cholesky takes d^3 / 3.

What cannot be proved so is not refused: the caller factorises.
"""

from __future__ import annotations

import numpy as np

from headway.arrays import Float64, Int64
from headway.maths import SCATTER_TOLERANCE

# of what the tolerance allows, the part that the errors which are computed may take; rounding of the bound has the rest
PART = 0.25
ROUNDING = 2.0**-52


def proves_scatter(
    factor: Float64, inverse: Float64, pivots: Int64, trace: float, missed: float, class_sums: Int64
) -> bool:
    """Whether W is within the tolerance of `Statistics.inconsistency`.

    factor: Y, float64 (r, d); inverse: of Y at the pivots, float64 (r, r); pivots: int64 (r,); trace: of Y^T Y; missed:
    the largest distance of an entry of G from that of Y^T Y as computed; class_sums: int64 (d + 1, C).
    """
    rank, size = factor.shape
    counts = class_sums[-1]
    held = counts > 0
    if int(held.sum()) > rank or (counts < 0).any() or class_sums[:-1, ~held].any():
        return False
    roots = class_sums[:-1, held] / np.sqrt(counts[held].astype(np.float64))
    inner = inverse @ roots[pivots]
    rest = float(np.linalg.norm(roots - factor.T @ inner))
    rest += rank * ROUNDING * float(np.linalg.norm(roots))
    above = max(float(np.linalg.eigvalsh(inner.T @ inner)[-1]) - 1.0, 0.0) + rank * ROUNDING
    missed_most = size * missed + (rank + 2) * ROUNDING * trace
    below = above * trace + 2.0 * rest * np.sqrt(trace * (1.0 + above)) + rest * rest + missed_most
    return bool(below <= PART * SCATTER_TOLERANCE * trace)
