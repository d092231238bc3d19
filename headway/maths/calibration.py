"""Fits one temperature, so that a head's probabilities match how often it is right (Guo et al., ICML 2017)."""

from __future__ import annotations

import numpy as np

from headway.arrays import Float64, Int64

TEMPERATURES = np.exp2(np.arange(-2.0, 5.01, 0.5))
# discriminants under a shared covariance are overconfident where a sensor has moved: 4 is where they tend to end up
DISCRIMINANT_LOG2 = 2.0


def fit_temperature(logits: Float64, labels: Int64, usual_log2: float = 0.0, grid: Float64 = TEMPERATURES) -> float:
    """The most probable temperature of a fixed `grid`, under a normal prior on log2 T around `usual_log2`.

    A handful of rows moves it, many rows decide: argmin of sum of log-losses + (log2 T - usual)^2 / 2.
    logits: float64 (n, C) of samples the head was not trained on; labels: int64 (n,). 1 without any row.
    """
    return fit_temperatures(logits, labels, ((usual_log2, 1.0),), grid)[0]


def fit_temperatures(
    logits: Float64, labels: Int64, priors: tuple[tuple[float, float], ...], grid: Float64 = TEMPERATURES
) -> tuple[float, ...]:
    """`fit_temperature` for several priors at the price of one.

    priors: (usual log2 T, what a row's loss counts for) each.
    """
    return temperatures_of(surprises(logits, labels, grid), priors, grid) if len(labels) else (1.0,) * len(priors)


def surprises(logits: Float64, labels: Int64, grid: Float64 = TEMPERATURES) -> Float64:
    """Log-losses at each temperature of `grid`, in nats. logits: float64 (n, C); labels: int64 (n,) -> (G, n)."""
    # a quotient's maximum is the maximum's quotient: dividing rounds alike
    shifted = logits / grid[:, None, None] - (logits.max(axis=-1, keepdims=True) / grid[:, None, None])
    own = shifted[:, np.arange(len(labels)), labels]
    result: Float64 = np.log(np.exp(shifted, out=shifted).sum(axis=-1)) - own
    return result


def temperatures_of(
    losses: Float64, priors: tuple[tuple[float, float], ...], grid: Float64 = TEMPERATURES
) -> tuple[float, ...]:
    """`fit_temperatures` from `surprises`, float64 (G, n), that the caller keeps."""
    if not losses.shape[1]:
        return (1.0,) * len(priors)
    sums = losses.sum(axis=1)
    totals = (counts * sums + 0.5 * (np.log2(grid) - usual) ** 2 for usual, counts in priors)
    return tuple(float(grid[int(np.argmin(total))]) for total in totals)


def scoring_loss(probabilities: Float64, labels: Int64) -> Float64:
    """What the gate compares: 1 for a wrong class, plus a bounded share of the log-loss to tell ties apart.

    error + min(-ln p, 4) / 4, so between 0 and 2; a single confident mistake cannot outweigh a run of good ones.
    probabilities: (n, C); labels: int64 (n,) -> float64 (n,).
    """
    rows = np.arange(len(labels))
    wrong = probabilities.argmax(axis=1) != labels
    surprise = -np.log(np.maximum(probabilities[rows, labels].astype(np.float64), 1e-12))
    result: Float64 = wrong + np.minimum(surprise, 4.0) / 4.0
    return result
