"""SGD, momentum and Adam on one weight matrix: in place, float32, without allocating.

A rule gets a gradient that is known to be finite and moves the weights; all it remembers is in `state`. Rules that
are linear in the gradient get it multiplied by the learning rate already, for that is cheaper while it is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import numpy as np

from headway.arrays import Float32
from headway.errors import LocalError

FIRST_MOMENT, SECOND_MOMENT, EPSILON = 0.9, 0.999, 1e-7


class Optimizer(StrEnum):
    """How a gradient becomes a step, as it is called in the configuration."""

    SGD = "sgd"
    MOMENTUM = "momentum"
    NESTEROV = "nesterov"
    ADAM = "adam"


class Rule(Protocol):
    """One way to step. linear: `apply` is given lr G instead of G."""

    linear: bool

    def apply(self, weights: Float32, gradient: Float32, learning_rate: float) -> None:
        """Move `weights` by one step; `gradient`, float32 (C, d + 1), is used up."""
        ...

    def state(self) -> Mapping[str, Float32]:
        """The arrays it goes on from, not copies."""
        ...


def build_rule(optimizer: Optimizer, shape: tuple[int, ...], momentum: float) -> Rule:
    """A fresh rule for weights of this shape. momentum: 0..1, share of the velocity that is kept."""
    if optimizer is Optimizer.SGD:
        return Plain()
    if optimizer is Optimizer.ADAM:
        return Adam(shape)
    return Momentum(shape, momentum, nesterov=optimizer is Optimizer.NESTEROV)


class Plain:
    """W <- W - lr G."""

    linear = True

    def apply(self, weights: Float32, gradient: Float32, learning_rate: float) -> None:
        np.subtract(weights, gradient, weights)

    def state(self) -> Mapping[str, Float32]:
        return {}


class Momentum:
    """Heavy ball (Polyak 1964), or Nesterov's in the form of Sutskever et al., ICML 2013.

    V <- m V + lr G;  W <- W - V, or for Nesterov W <- W - (m V + lr G)
    """

    linear = True

    def __init__(self, shape: tuple[int, ...], momentum: float, *, nesterov: bool) -> None:
        if not 0.0 <= momentum < 1.0:
            raise LocalError(f"momentum is {momentum}; it must be at least 0 and below 1")
        self._momentum, self._nesterov = np.float32(momentum), nesterov
        self._velocity: Float32 = np.zeros(shape, np.float32)

    def apply(self, weights: Float32, gradient: Float32, learning_rate: float) -> None:
        velocity = self._velocity
        np.multiply(velocity, self._momentum, velocity)
        np.add(velocity, gradient, velocity)
        np.subtract(weights, velocity, weights)
        if self._nesterov:
            # looking ahead: one more m V in place of the m V_old that is already in V
            np.subtract(weights, gradient, weights)
            np.multiply(velocity, np.float32(1.0) - self._momentum, gradient)
            np.add(weights, gradient, weights)

    def state(self) -> Mapping[str, Float32]:
        return {"velocity": self._velocity}


class Adam:
    """Adam (Kingma & Ba, ICLR 2015) in its "epsilon hat" order, with both moments kept unnormalised.

        M <- b1 M + G;  V <- b2 V + G^2
        W <- W - lr (1 - b1) / (1 - b1^t) * sqrt((1 - b2^t) / (1 - b2)) * M / (sqrt(V) + eps)

    which saves two passes over the weights.
    """

    linear = False

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._first: Float32 = np.zeros(shape, np.float32)
        self._second: Float32 = np.zeros(shape, np.float32)
        self._scratch: Float32 = np.empty(shape, np.float32)
        # as an array, so that saving the state saves it too
        self._steps: Float32 = np.zeros(1, np.float32)

    def apply(self, weights: Float32, gradient: Float32, learning_rate: float) -> None:
        first, second, scratch = self._first, self._second, self._scratch
        self._steps += 1
        steps = float(self._steps[0])
        bias = (1.0 - FIRST_MOMENT) / (1.0 - FIRST_MOMENT**steps)
        bias *= ((1.0 - SECOND_MOMENT**steps) / (1.0 - SECOND_MOMENT)) ** 0.5
        np.multiply(first, np.float32(FIRST_MOMENT), first)
        np.add(first, gradient, first)
        np.multiply(gradient, gradient, gradient)
        np.multiply(second, np.float32(SECOND_MOMENT), second)
        np.add(second, gradient, second)
        np.sqrt(second, scratch)
        np.add(scratch, np.float32(EPSILON), scratch)
        np.divide(first, scratch, scratch)
        np.multiply(scratch, np.float32(learning_rate * bias), scratch)
        np.subtract(weights, scratch, weights)

    def state(self) -> Mapping[str, Float32]:
        return {"first": self._first, "second": self._second, "steps": self._steps}
