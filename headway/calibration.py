"""One temperature that makes a head's probabilities mean what they say (Guo et al., ICML 2017)."""

from __future__ import annotations

import numpy as np

from headway.arrays import Float64, Int64
from headway.head import log_softmax

TEMPERATURES = np.exp2(np.arange(-2.0, 5.01, 0.5))
ROWS_MIN = 16


def fit_temperature(logits: Float64, labels: Int64) -> float:
    """The temperature of a fixed grid with the smallest log-loss; 1 while there are too few rows to tell.

    logits: float64 (n, C) of samples the head was not trained on; labels: int64 (n,).
    """
    if len(labels) < ROWS_MIN:
        return 1.0
    rows = np.arange(len(labels))
    losses = [-log_softmax(logits / t)[rows, labels].mean() for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


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
