"""Robust means of a round's updates: what a few devices among many can move is bounded, whatever they send.

    median         of each coordinate the median                                   Yin et al., ICML 2018
    trimmed mean   of each coordinate the mean without the b least and b greatest  Yin et al., ICML 2018
    (multi-)Krum   the m updates nearest to their n - f - 2 nearest, their mean    Blanchard et al., NeurIPS 2017

All take rows float32 (n, D), one of each device, and give float64 (D,). Coordinates are gone through in blocks, so that
beside the rows no second matrix is held. None of them knows how many samples are behind a row, which is a device's own
word, but Krum's mean. Oracle: Flower's `aggregate_median`, `aggregate_trimmed_avg` and `aggregate_krum` (tests/golden).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from headway.arrays import Float32, Float64, Int64

# coordinates at a time: n * COLUMNS float32 fit a cache of a few MB
COLUMNS = 512
# coordinates whose products are made at once, at most: float32 adds up so many as exactly as fewer, and each
# block costs a pass over the n * n products
PRODUCT_COLUMNS = 4608


def median(rows: Float32) -> Float64:
    """Of each coordinate; the mean of the two in the middle where n is even."""
    count, upper = len(rows), len(rows) // 2
    result = np.empty(rows.shape[1])
    for start in range(0, rows.shape[1], COLUMNS):
        block = _columns(rows, start)
        block.partition(upper, axis=1)
        found = block[:, upper].astype(np.float64)
        if count % 2 == 0:
            found = (found + block[:, :upper].max(axis=1)) / 2
        result[start : start + len(block)] = found
    return result


def trimmed_mean(rows: Float32, share: float) -> Float64:
    """share: of the rows that is left out at each end of a coordinate, 0 to 1/2; int(share * n) rows."""
    count = len(rows)
    cut = int(share * count)
    result = np.empty(rows.shape[1])
    for start in range(0, rows.shape[1], COLUMNS):
        block = _columns(rows, start)
        if cut:
            # one place at a time: for several at once NumPy 2.4 has no vectorised way, and takes four times as long
            block.partition(cut, axis=1)
            block[:, cut:].partition(count - 2 * cut - 1, axis=1)
        result[start : start + len(block)] = block[:, cut : count - cut].mean(axis=1, dtype=np.float64)
    return result


def krum_scores(rows: Float32, malicious: int) -> Float64:
    """Sum of squared distances of each row to its n - f - 2 nearest, at least one; float64 (n,). malicious: f."""
    return scores_of((products(rows[:, block]) for block in product_blocks(rows.shape[1])), len(rows), malicious)


def product_blocks(size: int) -> list[slice]:
    """Coordinates whose products are made together, in blocks of one size, added up in this order wherever they are
    made."""
    step = -(-size // max(1, -(-size // PRODUCT_COLUMNS)))
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def products(block: Float32) -> Float32:
    """Of every two rows of some coordinates, float32 (n, columns) -> float32 (n, n).

    Without the rows' mean, so that distances do not vanish beside lengths; any point near them would do.
    """
    mean = np.add.reduce(block, axis=0) / np.float32(len(block))
    centred: Float32 = np.subtract(block, mean, order="C")
    return centred @ centred.T


def scores_of(parts: Iterable[Float32], count: int, malicious: int) -> Float64:
    """What `krum_scores` says, of the products of each block of coordinates, in order, of `count` rows."""
    total = np.zeros((count, count))
    for part in parts:
        total += part
    squares = np.diagonal(total).copy()
    distances = np.add.outer(squares, squares)
    total *= 2.0
    distances -= total
    np.maximum(distances, 0.0, out=distances)
    np.fill_diagonal(distances, np.inf)
    nearest = min(max(1, count - malicious - 2), count - 1)
    if nearest < 1:
        return np.zeros(count)
    distances.partition(nearest - 1, axis=1)
    scores: Float64 = distances[:, :nearest].sum(axis=1)
    return scores


def krum(
    rows: Float32, samples: Sequence[int], malicious: int, kept: int, scores: Float64 | None = None
) -> tuple[Float64, Int64]:
    """The mean of the `kept` rows of the least scores, weighted by samples, and which rows these are, int64 (kept,).

    scores: `krum_scores` of the rows, where they are known.

    kept = 1 is Krum, more of them multi-Krum.
    """
    scores = krum_scores(rows, malicious) if scores is None else scores
    chosen = np.sort(np.argsort(scores, kind="stable")[:kept])
    weights = np.asarray(samples, np.float64)[chosen]
    return weights @ rows[chosen].astype(np.float64) / weights.sum(), chosen.astype(np.int64)


def _columns(rows: Float32, start: int) -> Float32:
    """Some coordinates as contiguous lines, a copy, float32 (columns, n)."""
    return np.array(rows[:, start : start + COLUMNS].T, order="C")
