"""Computes one gradient step on the head: one mini-batch, in place, float32, every intermediate preallocated.

    Z = W X^T;   G = residual(Z, Y) X / B;   W <- rule(W, G);   W <- (W + lr A) / (1 + lr R)

X holds the features and a trailing column of ones, so the bias is the last column of W; W is stored class-major,
(C, d + 1), and so are Z and Y: that order lets BLAS and the cache do the work, and 1 / B is folded into the small Z.
The last term is the exact proximal step of the anchors, stable at every strength (Parikh & Boyd 2014):

    R = l2 (not on the bias) + proximal + l2_sp;   A = proximal W_global + l2_sp W_frozen

l2 pulls to zero; `proximal` to the fleet's head (FedProx, Li et al., MLSys 2020); `l2_sp` to the frozen head
(L2-SP, Li et al., ICML 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float32
from headway.errors import LocalError, StoreError
from headway.maths.losses import Loss, Residual
from headway.maths.optimizers import Optimizer, build_rule


@dataclass(frozen=True, slots=True)
class DescentSettings:
    """learning_rate: of the first step, lr / (1 + decay * t) at step t since then or since `restart_decay`.

    clip_norm: longest gradient, 0 for no limit. huber_delta: where the Huber loss turns linear, in the units of the
    targets. l2, proximal, l2_sp: strengths of the anchors.
    """

    loss: Loss = Loss.CROSS_ENTROPY
    optimizer: Optimizer = Optimizer.SGD
    learning_rate: float = 0.1
    learning_rate_decay: float = 0.0
    momentum: float = 0.9
    clip_norm: float = 0.0
    huber_delta: float = 1.0
    l2: float = 0.0
    proximal: float = 0.0
    l2_sp: float = 0.0


class Descent:
    """Weights float32 (C, d + 1), moved in place by `step`.

    frozen: where l2_sp pulls to, and proximal too until `pull_to` names another head; None for the start.
    """

    def __init__(
        self, weights: Float32, settings: DescentSettings, batch_max: int, frozen: Float32 | None = None
    ) -> None:
        if weights.dtype != np.float32 or weights.ndim != 2:
            raise LocalError(f"weights must be float32 (C, d + 1), got {weights.dtype} {weights.shape}")
        self.weights: Float32 = np.array(weights, np.float32, order="C")
        self.settings = settings
        self.steps = 0
        self.refused = 0
        self._residual = Residual(settings.loss, len(weights), batch_max, settings.huber_delta)
        self._rule = build_rule(settings.optimizer, weights.shape, settings.momentum)
        self._batch_max = batch_max
        self._room: Float32 = np.empty(len(weights) * batch_max, np.float32)
        self._scores: Float32 = self._room.reshape(len(weights), batch_max)
        self._gradient: Float32 = np.empty_like(self.weights)
        self._flat: Float32 = self._gradient.reshape(-1)
        self._frozen: Float32 = np.array(weights if frozen is None else frozen, np.float32, order="C")
        self._anchored = settings.l2 > 0 or settings.proximal > 0 or settings.l2_sp > 0
        self.pull_to(self._frozen)

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self.settings.learning_rate / (1.0 + self.settings.learning_rate_decay * self.steps)

    def restart_decay(self) -> None:
        """The learning rate goes back to its start, and decays from there."""
        self.steps = 0

    def move(self, difference: Float32) -> None:
        """Add to the weights what others learned. difference: float32 (C, d + 1)."""
        self.weights += difference

    def pull_to(self, fleet: Float32) -> None:
        """The head that `proximal` pulls to, float32 (C, d + 1)."""
        settings = self.settings
        pull = np.full(self.weights.shape[1], settings.l2 + settings.proximal + settings.l2_sp, np.float32)
        pull[-1] -= np.float32(settings.l2)
        self._pull = pull
        self._anchor: Float32 = np.float32(settings.proximal) * fleet + np.float32(settings.l2_sp) * self._frozen

    def step(self, extended: Float32, targets: Float32, known: Float32 | None = None) -> bool:
        """One step on a mini-batch; False when its gradient was not finite: then nothing at all has changed.

        extended: float32 (B, d + 1), the last column ones; targets: float32 (C, B), one-hot for cross-entropy;
        known: float32 (C, B), 0 where a target is unknown. B is at most `batch_max`.
        """
        # a feature, a weight or a target may be anything: the check on the gradient sees it
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return self._step(extended, targets, known)

    def run(self, batches: Iterable[tuple[Float32, Float32]]) -> int:
        """A step on each (extended, targets); returns how many were not refused."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return sum([self._step(extended, targets, None) for extended, targets in batches])

    def _step(self, extended: Float32, targets: Float32, known: Float32 | None) -> bool:
        learning_rate = self.learning_rate if self.settings.learning_rate_decay else self.settings.learning_rate
        # folded into the small matrix of residuals: 1 / B, and the learning rate where the rule is linear in it
        factor = learning_rate if self._rule.linear else 1.0
        square = self._descend(extended, targets, known, factor, shifted=False)
        if not math.isfinite(square):
            # most likely scores too large for exp as they are
            square = self._descend(extended, targets, known, factor, shifted=True)
        # finite only if every entry is; checked before the rule sees it, so there is nothing to take back
        if not math.isfinite(square):
            self.refused += 1
            return False
        if self.settings.clip_norm:
            self._clip(self.settings.clip_norm * factor, square)
        self._rule.apply(self.weights, self._gradient, learning_rate)
        if self._anchored:
            np.multiply(self._anchor, np.float32(learning_rate), self._gradient)
            np.add(self.weights, self._gradient, self.weights)
            np.divide(self.weights, np.float32(1.0) + np.float32(learning_rate) * self._pull, self.weights)
        self.steps += 1
        return True

    def _clip(self, norm_max: float, square: float) -> None:
        if square > norm_max * norm_max:
            np.multiply(self._gradient, norm_max / math.sqrt(square), self._gradient)

    def _descend(
        self, extended: Float32, targets: Float32, known: Float32 | None, factor: float, *, shifted: bool
    ) -> float:
        """The gradient times `factor` into its buffer; returns its squared length, NaN without the shift it needs."""
        count = len(extended)
        scores = (
            self._scores if count == self._batch_max else self._room[: len(self.weights) * count].reshape(-1, count)
        )
        np.dot(self.weights, extended.T, scores)
        if not self._residual.apply(scores, targets, shifted=shifted):
            return math.nan
        if known is not None:
            np.multiply(scores, known, scores)
        np.multiply(scores, factor / count, scores)
        np.dot(scores, extended, self._gradient)
        return float(self._flat.dot(self._flat))

    def state(self) -> dict[str, AnyArray]:
        """Everything `restore` needs, by name; not copies."""
        rule = {f"{self.settings.optimizer}.{name}": array for name, array in self._rule.state().items()}
        return {"weights": self.weights, "steps": np.array([self.steps, self.refused], np.int64), **rule}

    def restore(self, tensors: Mapping[str, AnyArray]) -> None:
        """Inverse of `state`. What another optimiser remembered is left aside. Raises StoreError."""
        mine = self.state()
        for name in ("weights", "steps"):
            if name not in tensors:
                raise StoreError(f"saved gradient learner lacks tensor {name}")
        for name, array in mine.items():
            saved = tensors.get(name)
            if saved is None:
                continue  # the optimiser was changed in the configuration: its memory starts empty
            if saved.shape != array.shape or saved.dtype != array.dtype or not np.isfinite(saved).all():
                raise StoreError(f"saved tensor {name} does not fit this bundle and configuration")
            np.copyto(array, saved)
        self.steps, self.refused = (int(number) for number in tensors["steps"])


def widened(descent: Descent, classes: int, batch_max: int) -> Descent:
    """The same descent with more classes; new ones start from zero weights."""
    more = ((0, classes - len(descent.weights)), (0, 0))
    wide = Descent(np.pad(descent.weights, more), descent.settings, batch_max, np.pad(descent._frozen, more))
    state = descent.state()
    wide.restore(
        {name: np.pad(array, more) if array.shape == descent.weights.shape else array for name, array in state.items()}
    )
    return wide
