"""The gradient learner's maths: softmax cross-entropy and its gradient step on the head, in place and float32.

The bias is a trailing column of ones in the features, the weights are stored class-major (C, d + 1), and every
intermediate lives in a preallocated buffer: that order lets BLAS and the cache do the work.
"""

from __future__ import annotations

import numpy as np

from headway.arrays import Float32, Int64
from headway.errors import LocalError
from headway.head import Head, HeadInput, HeadKind


class SoftmaxSGD:
    """Mini-batch stochastic gradient descent on mean softmax cross-entropy.

        Z = W X^T;  P = softmax(Z);  W <- W - lr / B * (P - Y) X

    weights: float32 (C, d + 1), the last column the bias.
    """

    def __init__(self, weights: Float32, learning_rate: float, batch_max: int) -> None:
        if weights.dtype != np.float32 or weights.ndim != 2:
            raise LocalError(f"weights must be float32 (C, d + 1), got {weights.dtype} {weights.shape}")
        self.weights = np.ascontiguousarray(weights)
        self.learning_rate = learning_rate
        classes, width = weights.shape
        self._extended = np.ones((batch_max, width), np.float32)
        self._scores = np.empty((classes, batch_max), np.float32)
        self._gradient = np.empty_like(self.weights)
        self._previous = np.empty_like(self.weights)

    def step(self, features: Float32, labels: Int64) -> bool:
        """One step on a mini-batch; False when the result was not finite and the step was taken back.

        features: float32 (B, d) with B <= batch_max; labels: int64 (B,).
        """
        count = len(features)
        extended = self._extended[:count]
        extended[:, :-1] = features
        scores = self._scores[:, :count]
        np.matmul(self.weights, extended.T, out=scores)
        scores -= scores.max(axis=0)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=0)
        scores[labels, np.arange(count)] -= 1
        scores *= np.float32(self.learning_rate / count)
        np.matmul(scores, extended, out=self._gradient)
        np.copyto(self._previous, self.weights)
        self.weights -= self._gradient
        if np.isfinite(self.weights).all():
            return True
        np.copyto(self.weights, self._previous)
        return False


def weights_of(head: Head) -> Float32:
    """Kernel and bias of a head in the learner's layout, float32 (C, d + 1)."""
    return np.ascontiguousarray(np.concatenate([head.kernel.T, head.bias[:, None]], axis=1))


def head_of(weights: Float32, classes: tuple[str, ...]) -> Head:
    """Inverse of `weights_of` for a softmax head over codes."""
    return Head(
        np.ascontiguousarray(weights[:, :-1].T),
        weights[:, -1].copy(),
        HeadKind.SOFTMAX,
        classes,
        HeadInput.CODES,
    )
