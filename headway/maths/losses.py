"""Losses of the gradient learner. Each turns scores into its gradient with respect to the scores, in place.

Scores and targets are class-major, float32 (C, B), so that sums over classes run along the first axis and the
product with the features needs no copy.

    cross-entropy         softmax(Z) - Y
    binary cross-entropy  sigmoid(Z) - Y
    squared error         Z - Y                          of (Z - Y)^2 / 2
    Huber                 clip(Z - Y, -delta, delta)     Huber, Annals of Mathematical Statistics 1964
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from headway.arrays import Float32
from headway.maths.head import HeadKind


class Loss(StrEnum):
    """What is descended on, as it is called in the configuration."""

    CROSS_ENTROPY = "cross-entropy"
    BINARY_CROSS_ENTROPY = "binary-cross-entropy"
    SQUARED_ERROR = "mse"
    HUBER = "huber"

    @property
    def link(self) -> HeadKind:
        """The link function this loss belongs to."""
        return LINKS[self]

    @property
    def curvature(self) -> float:
        """Largest second derivative by a score: 1/2 for softmax (Boehning 1992), 1/4 for the sigmoid, else 1."""
        return CURVATURES[self]


LINKS = {
    Loss.CROSS_ENTROPY: HeadKind.SOFTMAX,
    Loss.BINARY_CROSS_ENTROPY: HeadKind.SIGMOID,
    Loss.SQUARED_ERROR: HeadKind.LINEAR,
    Loss.HUBER: HeadKind.LINEAR,
}
CURVATURES = {
    Loss.CROSS_ENTROPY: 0.5,
    Loss.BINARY_CROSS_ENTROPY: 0.25,
    Loss.SQUARED_ERROR: 1.0,
    Loss.HUBER: 1.0,
}


class Residual:
    """The gradient of one loss by the scores, with its own scratch memory."""

    def __init__(self, loss: Loss, classes: int, batch_max: int, huber_delta: float = 1.0) -> None:
        self.loss = loss
        self._delta = np.float32(huber_delta)
        self._row = np.empty(batch_max, np.float32)
        # a product with ones sums faster than a reduction along the first axis
        self._ones = np.ones(classes, np.float32)

    def apply(self, scores: Float32, targets: Float32, *, shifted: bool) -> bool:
        """Overwrite `scores`, float32 (C, B), with the gradient. targets: float32 (C, B).

        shifted: take each column's largest score off first, which softmax needs when scores are far from 0. It costs
        a fifth of a small step, so it is tried without; False when the shift was needed and `scores` are spoilt.
        """
        if self.loss is Loss.CROSS_ENTROPY:
            row = self._row[: scores.shape[1]]
            if shifted:
                scores.max(axis=0, out=row)
                np.subtract(scores, row, scores)
            np.exp(scores, scores)
            np.dot(self._ones, scores, row)
            np.reciprocal(row, row)
            # overflows for a sum below 5e-20, whose terms may have lost bits; a sum that overflowed shows later, as
            # infinity times 0
            if not shifted and not math.isfinite(row.dot(row)):
                return False
            np.multiply(scores, row, scores)
        elif self.loss is Loss.BINARY_CROSS_ENTROPY:
            # 1 / (1 + exp(-z)) as a tanh, which cannot overflow
            np.multiply(scores, np.float32(0.5), scores)
            np.tanh(scores, scores)
            np.add(scores, np.float32(1.0), scores)
            np.multiply(scores, np.float32(0.5), scores)
        np.subtract(scores, targets, scores)
        if self.loss is Loss.HUBER:
            np.clip(scores, -self._delta, self._delta, out=scores)
        return True
