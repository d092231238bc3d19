"""Several heads solved from the same tables, pooled into one by how well each predicted the labels that came.

The pool is log-linear (Genest & Zidek 1986): its logits are the weighted mean of the experts' logits, so the pool of
linear heads is one linear head again. Weights follow the experts' losses with a small share spread over all of them
(fixed share, Herbster & Warmuth 1998) and a discount, so that an expert that was bad yesterday can be good today.
Every loss is of a prediction made before its label was learned, or of one solved without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.learner.exact.settings import ExactSettings
from headway.arrays import Float32, Float64
from headway.maths import Head


class ExpertPool:
    """Log weights by expert name; an expert that is new starts from its share."""

    def __init__(self, settings: ExactSettings) -> None:
        self._settings = settings
        self._log_weights: dict[str, float] = {}
        # the weights last asked for, while they hold
        self._known: tuple[Sequence[str], Float64] | None = None

    def weights(self, names: Sequence[str]) -> Float64:
        """Weights of `names`, float64 (m,), adding up to one."""
        if self._known is not None and self._known[0] == names:
            return self._known[1]
        least = min(self._log_weights.values(), default=0.0) + float(np.log(self._settings.share))
        logs = np.array([self._log_weights.get(name, least) for name in names])
        if not self._log_weights:
            logs[:] = 0.0
        weights: Float64 = np.exp(logs - logs.max())
        weights /= weights.sum()
        self._known = names, weights
        return weights

    def judge(self, losses: Mapping[str, Float64]) -> None:
        """Set the weights from losses on the same rows, float64 (n,) per expert: log-losses in nats, few rows."""
        few_rate, loss_max = self._settings.few_rate, self._settings.loss_max
        totals = {name: -few_rate * float(np.minimum(loss, loss_max).sum()) for name, loss in losses.items()}
        self._settle(list(totals), np.array(list(totals.values())))

    def score(self, names: Sequence[str], losses: Float64) -> None:
        """One more label. losses: float64 (m,), log-losses in nats of the experts `names`."""
        logs = self._settings.discount * np.log(self.weights(names))
        logs -= self._settings.rate * np.minimum(losses, self._settings.loss_max)
        self._settle(names, logs)

    def head(self, stack: HeadStack) -> Head:
        """The pooled head of the heads in `stack`."""
        return stack.pooled(self.weights(stack.names))

    def state(self) -> dict[str, float]:
        return dict(self._log_weights)

    def restore(self, log_weights: Mapping[str, float]) -> None:
        """Inverse of `state`."""
        self._log_weights = dict(log_weights)
        self._known = None

    def _settle(self, names: Sequence[str], logs: Float64) -> None:
        weights = np.exp(logs - logs.max())
        share = self._settings.share
        weights = (1 - share) * weights / weights.sum() + share / len(weights)
        self._log_weights = dict(zip(names, np.log(weights).tolist(), strict=True))
        self._known = None


class HeadStack:
    """Heads by name, a row for each: float32 (m, C * d + C), kernels by class, then biases."""

    def __init__(self, heads: Mapping[str, Head]) -> None:
        first = next(iter(heads.values()))
        self.names = tuple(heads)
        self._like = first
        self._row = {name: row for row, name in enumerate(self.names)}
        size, classes = first.kernel.shape
        self._rows: Float32 = np.empty((len(heads), classes * (size + 1)), np.float32)
        self._kernels: Float32 = self._rows[:, : classes * size].reshape(len(heads), classes, size)
        self._biases: Float32 = self._rows[:, classes * size :]
        for row, head in enumerate(heads.values()):
            self._kernels[row] = head.kernel.T
            self._biases[row] = head.bias

    def put(self, name: str, kernel: Float64, bias: Float64, temperature: float) -> None:
        """Another head under a known name, its logits divided by `temperature`. kernel: float64 (C, d); bias: (C,)."""
        row = self._row[name]
        np.multiply(kernel, 1.0 / temperature, out=self._kernels[row], casting="same_kind")
        self._biases[row] = bias / temperature

    def logits(self, values: Float32) -> Float64:
        """Of every head on one sample. values: float32 (d,) -> float64 (m, C)."""
        return (self._kernels @ values + self._biases).astype(np.float64)

    def pooled(self, weights: Float64) -> Head:
        """The head whose logits are the weighted sum of all. weights: float64 (m,)."""
        flat = weights.astype(np.float32) @ self._rows
        size, classes = self._like.kernel.shape
        kernel = np.ascontiguousarray(flat[: classes * size].reshape(classes, size).T)
        return Head(kernel, flat[classes * size :], self._like.kind, self._like.classes, self._like.input)

    def head(self, name: str) -> Head:
        """One of them, as it is now."""
        row = self._row[name]
        kernel = np.ascontiguousarray(self._kernels[row].T)
        return Head(kernel, self._biases[row].copy(), self._like.kind, self._like.classes, self._like.input)
