"""The gradient learner's maths: softmax cross-entropy and its gradient step on the head, in place and float32.

The bias is a trailing column of ones in the features, the weights are stored class-major (C, d + 1), and every
intermediate lives in a preallocated buffer: that order lets BLAS and the cache do the work.
"""

from __future__ import annotations

import numpy as np

from headway.arrays import Float32, Int64
from headway.errors import LocalError
from headway.features import CODE_MAX, FeatureMap
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


def fold_frozen_head(head: Head, features: FeatureMap) -> Head:
    """The frozen head as a head over codes: where gradient learning starts, on devices and in the fleet.

        q_j ~ 127 e_j / s_j   =>   sum_j e_j K_jc  ~  sum_j q_j (s_j / 127) K_jc

    head: over the embedding, kernel (e, C) -> over codes, kernel (d, C); the rows of an expansion start at zero.
    The two differ only by rounding and clipping of the codes.
    Raises LocalError for a map that projects the embedding: its codes do not hold the embedding's columns.
    """
    if features.components is not None:
        raise LocalError("a frozen head cannot be folded through a projection of the embedding")
    size = features.embedding_size
    kernel = np.zeros((features.size, len(head.classes)), np.float32)
    kernel[:size] = head.kernel * (features.scale[:size] / np.float32(CODE_MAX))[:, None]
    return Head(kernel, head.bias.copy(), head.kind, head.classes, HeadInput.CODES)


def weights_over_unit_codes(head: Head) -> Float32:
    """A head over codes in the learner's layout and units, float32 (C, d + 1): kernel * 127, then the bias.

    The learner descends on codes / 127, so that one learning rate suits every model. Deltas on the wire
    (`messages.Update`) and averages in the aggregator are in these units.
    """
    kernel = head.kernel.T * np.float32(CODE_MAX)
    return np.ascontiguousarray(np.concatenate([kernel, head.bias[:, None]], axis=1))


def head_over_codes(weights: Float32, classes: tuple[str, ...]) -> Head:
    """Inverse of `weights_over_unit_codes`: a softmax head over codes."""
    return Head(
        np.ascontiguousarray(weights[:, :-1].T / np.float32(CODE_MAX)),
        weights[:, -1].copy(),
        HeadKind.SOFTMAX,
        classes,
        HeadInput.CODES,
    )
