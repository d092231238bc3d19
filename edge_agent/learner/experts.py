"""Several heads solved from the same tables, pooled into one by how well each predicted the labels that came.

The pool is log-linear (Genest & Zidek 1986): its logits are the weighted mean of the experts' logits, so the pool of
linear heads is one linear head again. Weights follow the experts' losses with a small share spread over all of them
(fixed share, Herbster & Warmuth 1998) and a discount, so that an expert that was bad yesterday can be good today.
Every loss is of a prediction made before its label was learned, or of one solved without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_agent.learner.exact_settings import ExactSettings
from edge_agent.learner.stack import HeadStack
from headway.arrays import Float64
from headway.head import Head


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
