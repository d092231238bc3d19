"""Checks the tables of many devices as one array: what `Statistics.inconsistency` asks of each."""

from __future__ import annotations

import numpy as np

from headway.arrays import AnyArray, Bools, Float64, Int64
from headway.maths.features import CODE_MAX
from headway.maths.scatter import SCATTER_TOLERANCE
from headway.maths.statistics import SAMPLES_MAX


def doubtful(grams: Int64, class_sums: Int64, numbers: AnyArray) -> Bools:
    """Of which tables `Statistics.inconsistency` has to be asked: bool (k,).

    grams: int64 (k, d + 1, d + 1), each symmetric; class_sums: int64 (k, d + 1, C); numbers: whole numbers (k, n), all
    that stand in each gram, as narrow as they came. Of all others it would say nothing.
    """
    samples, counts = grams[:, -1, -1], class_sums[:, -1]
    # nothing below overflows where these hold; where they do not, it does not matter
    held = (samples > 0) & (samples <= SAMPLES_MAX) & (counts.min(axis=1) >= 0) & (counts.max(axis=1) <= samples)
    reach = CODE_MAX * CODE_MAX * samples
    held &= counts.sum(axis=1) == samples
    held &= (numbers.max(axis=1) <= reach) & (numbers.min(axis=1) >= -reach)
    held &= np.einsum("kii->ki", grams).min(axis=1) >= 0
    inner, bound = class_sums[:, :-1], CODE_MAX * counts[:, None]
    held &= ((inner <= bound) & (inner >= -bound)).all(axis=(1, 2))
    held &= (class_sums.sum(axis=2) == grams[:, :, -1]).all(axis=1)
    doubts: Bools = ~held
    if held.any():
        doubts[held] = ~_real_scatter(
            grams if held.all() else grams[held], class_sums if held.all() else class_sums[held]
        )
    return doubts


def _real_scatter(grams: Int64, class_sums: Int64) -> Bools:
    """`headway.maths.scatter.has_real_scatter` of each; False also where nothing but zeros is said."""
    scatter, counts = grams[:, :-1, :-1].astype(np.float64), class_sums[:, -1].astype(np.float64)
    diagonal = np.einsum("kii->ki", scatter)
    trace = diagonal.sum(axis=1)
    sums = class_sums[:, :-1].astype(np.float64)
    scatter -= (sums / np.maximum(counts, 1.0)[:, None]) @ sums.transpose(0, 2, 1)
    diagonal += SCATTER_TOLERANCE * trace[:, None]
    real: Bools = _factorised(scatter) & (trace > 0)
    return real


def _factorised(matrices: Float64) -> Bools:
    """Which of them have a Cholesky factor, by halves where not all have one."""
    try:
        np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        half = len(matrices) // 2
        if not half:
            return np.zeros(1, np.bool_)
        return np.concatenate([_factorised(matrices[:half]), _factorised(matrices[half:])])
    return np.ones(len(matrices), np.bool_)
