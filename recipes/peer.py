"""The peer of every recipe: scikit-learn's SGD on the same embedding, begun on the training rows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from headway.arrays import AnyArray, Float32, Float64

# scikit-learn's defaults: the weight of the penalty; where its "optimal" rate begins, 1 / (10 alpha); the rate of
# values and the power of time by which it falls; beyond which error of a value Huber's loss is linear
ALPHA, BEGIN = 1e-4, 1000.0
RATE, POWER, LINEAR_FROM = 0.01, 0.25, 0.1


class Peer:
    """`SGDClassifier` with the log loss, or `SGDRegressor` with Huber's: with the squared one it diverges on some of
    the streams. Inputs are over their largest deviation.

    Fitted by scikit-learn. On a stream each label is one `partial_fit`, whose step is computed here for all classes at
    once: a call takes 3 ms for ten classes, of which the arithmetic is a hundredth. tests/recipes/test_peer.py compares
    both.
    """

    def __init__(
        self, rows: Float32, y: AnyArray, seed: int, *, values: bool, new_classes: AnyArray | None = None
    ) -> None:
        """rows: embedding of the training rows, float32 (n, e). new_classes: all that may come, int64; of some of them
        there is no training row, and then it begins with one pass."""
        from sklearn.linear_model import SGDClassifier, SGDRegressor

        self._offset, self._scale = rows.mean(axis=0), float(rows.std(axis=0).max())
        self._mean, self._spread = (float(y.mean()), float(y.std())) if values else (0.0, 1.0)
        model: Any = (
            SGDRegressor("huber", random_state=seed) if values else SGDClassifier("log_loss", random_state=seed)
        )
        if new_classes is not None:
            model.set_params(random_state=0)
            model.partial_fit(self._standard(rows), y, classes=new_classes)
        else:
            model.fit(self._standard(rows), (y - self._mean) / self._spread if values else y)
        self.classes: AnyArray | None = None if values else model.classes_
        self.weights: Float64 = np.atleast_2d(model.coef_).astype(np.float64)
        self.bias: Float64 = np.atleast_1d(model.intercept_).astype(np.float64)
        self.time = float(model.t_)
        self._rows, self._y = rows[:0], y[:0]

    def over(self, rows: Float32, y: AnyArray) -> Peer:
        """A copy as it is before the first row, to `follow` rows, float32 (m, e), with labels y."""
        made = copy.copy(self)
        made.weights, made.bias = self.weights.copy(), self.bias.copy()
        made._rows, made._y = self._standard(rows), y
        return made

    def answer(self, row: int) -> Any:
        return self.said(self._rows[row])

    def learn(self, row: int) -> None:
        self.step(self._rows[row], self._y[row])

    def said(self, x: Float32) -> Any:
        """Class or value. x: standardised, float32 (e,)."""
        found = self.weights @ x + self.bias
        if self.classes is None:
            return float(found[0]) * self._spread + self._mean
        return self.classes[int(found.argmax()) if len(found) > 1 else int(found[0] > 0)]

    def step(self, x: Float32, label: Any) -> None:
        """One sample, float32 (e,), and its class or value: penalty, then gradient, as `partial_fit` has them."""
        said = self.weights @ x + self.bias
        if self.classes is None:
            rate = RATE / self.time**POWER
            gradient = np.clip(said - (label - self._mean) / self._spread, -LINEAR_FROM, LINEAR_FROM)
        else:
            rate = 1.0 / (ALPHA * (BEGIN + self.time - 1.0))
            true = self.classes == label
            gradient = 1.0 / (1.0 + np.exp(-np.clip(said, -500, 500))) - (true if len(said) > 1 else true[1:])
        self.weights *= max(0.0, 1.0 - rate * ALPHA)
        self.weights -= np.outer(rate * gradient, x)
        self.bias -= rate * gradient
        self.time += 1.0

    def _standard(self, rows: Float32) -> Float32:
        return np.asarray((rows - self._offset) / self._scale, np.float32)
