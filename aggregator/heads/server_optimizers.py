"""Server optimisers of federated averaging: how the mean update of a round moves the head.

    fedavg    w += eta D                                                        McMahan et al., AISTATS 2017
    fedavgm   v = b v + D                             w += eta v                Hsu et al. 2019
    fedadam   m = b1 m + (1-b1) D,  v = b2 v + (1-b2) D^2
              w += a_t m / (sqrt v + tau),  a_t = a sqrt(1 - b2^(t+1)) / (1 - b1^(t+1)),  t = 1, 2, ...
    fedyogi   m likewise,  v -= (1-b2) D^2 sign(v - D^2)     w += a m / (sqrt v + tau)    both Reddi et al., ICLR 2021

D: the mean update. What an optimiser remembers of earlier rounds (m, v and their number) is stored with the head that
they led to. Where averaging goes on from another head, because one was withdrawn or an operator holds an earlier one,
it begins without memory. Oracle: Flower's FedAvgM, FedAdam and FedYogi (tests/golden).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aggregator.policy import AveragingPolicy, Strategy
from headway.arrays import Float64
from headway.errors import StoreError

Step = Callable[["Memory", Float64, AveragingPolicy], tuple["Memory", Float64]]


@dataclass(frozen=True, slots=True)
class Memory:
    """Of earlier rounds. rounds: their number; first, second: moments, float64 (D,); of no round both are zeros."""

    rounds: int
    first: Float64
    second: Float64

    @classmethod
    def none(cls, size: int) -> Memory:
        """Before the first round of `size` weights."""
        return cls(0, np.zeros(size), np.zeros(size))

    def encode(self) -> bytes:
        return (
            self.rounds.to_bytes(8, "little") + self.first.astype("<f8").tobytes() + self.second.astype("<f8").tobytes()
        )

    @classmethod
    def decode(cls, payload: bytes, size: int) -> Memory:
        """Raises StoreError for a payload of another size, or one that is not finite."""
        if len(payload) != 8 + 16 * size:
            raise StoreError(f"memory of the server's optimiser has {len(payload)} bytes, {8 + 16 * size} are expected")
        moments = np.frombuffer(payload, "<f8", offset=8).astype(np.float64)
        if not np.isfinite(moments).all():
            raise StoreError("memory of the server's optimiser is not finite")
        return cls(int.from_bytes(payload[:8], "little"), moments[:size], moments[size:])


def step(memory: Memory, mean: Float64, policy: AveragingPolicy) -> tuple[Memory, Float64]:
    """What to add to the weights for the mean update of a round, float64 (D,) each, and what is remembered of it."""
    return STEPS[policy.strategy](memory, mean, policy)


def _fedavg(memory: Memory, mean: Float64, policy: AveragingPolicy) -> tuple[Memory, Float64]:
    return memory, policy.learning_rate * mean


def _fedavgm(memory: Memory, mean: Float64, policy: AveragingPolicy) -> tuple[Memory, Float64]:
    first = policy.momentum * memory.first + mean
    return Memory(memory.rounds + 1, first, memory.second), policy.learning_rate * first


def _fedadam(memory: Memory, mean: Float64, policy: AveragingPolicy) -> tuple[Memory, Float64]:
    b1, b2 = policy.beta_1, policy.beta_2
    rounds = memory.rounds + 1
    first, second = b1 * memory.first + (1 - b1) * mean, b2 * memory.second + (1 - b2) * mean**2
    rate = policy.adaptive_rate * np.sqrt(1 - b2 ** (rounds + 1)) / (1 - b1 ** (rounds + 1))
    return Memory(rounds, first, second), rate * first / (np.sqrt(second) + policy.tau)


def _fedyogi(memory: Memory, mean: Float64, policy: AveragingPolicy) -> tuple[Memory, Float64]:
    b1, b2 = policy.beta_1, policy.beta_2
    first, square = b1 * memory.first + (1 - b1) * mean, mean**2
    second = memory.second - (1 - b2) * square * np.sign(memory.second - square)
    moved = policy.adaptive_rate * first / (np.sqrt(second) + policy.tau)
    return Memory(memory.rounds + 1, first, second), moved


STEPS: dict[Strategy, Step] = {
    Strategy.FEDAVG: _fedavg,
    Strategy.FEDAVGM: _fedavgm,
    Strategy.FEDADAM: _fedadam,
    Strategy.FEDYOGI: _fedyogi,
}
