"""Federated averaging of gradient updates.

    w <- w + eta * sum_i n_i s(t_i) clip(Delta_i) / sum_i n_i
    clip(Delta) = Delta * min(1, c / ||Delta||_2)
    s(t)        = (1 + t)^-a,  t = versions published since the update's base

Sources: FedAvg (McMahan et al., AISTATS 2017) for the weighted mean; FedBuff (Nguyen et al., AISTATS 2022) for
buffered rounds and the staleness weight, which scales the step instead of being normalised away; clipping by norm
bounds what one device can do (Sun et al. 2019, Can You Really Backdoor Federated Learning?).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from aggregator.policy import AveragingPolicy
from headway.arrays import Float32
from headway.errors import LocalError


@dataclass(frozen=True, slots=True)
class Contribution:
    """One update as the mean sees it. delta: float32 (C, d + 1), finite; staleness: t, 0 for a fresh one."""

    delta: Float32
    samples: int
    staleness: int


def average(weights: Float32, contributions: Iterable[Contribution], policy: AveragingPolicy) -> Float32:
    """One round: the weights moved by the mean of the contributions, held one at a time.

    weights: float32 (C, d + 1) -> float32 (C, d + 1). Raises LocalError without contributions.
    """
    total = np.zeros(weights.shape, np.float64)
    samples = 0
    for contribution in contributions:
        weight = min(contribution.samples, policy.samples_max)
        total += weight * _scale(contribution, policy) * contribution.delta.astype(np.float64)
        samples += weight
    if not samples:
        raise LocalError("an average needs at least one contribution")
    moved: Float32 = (weights + policy.learning_rate * total / samples).astype(np.float32)
    return moved


def _scale(contribution: Contribution, policy: AveragingPolicy) -> float:
    norm = float(np.linalg.norm(contribution.delta.astype(np.float64)))
    clip = 1.0 if norm <= policy.clip_norm else policy.clip_norm / norm
    return float(clip * (1.0 + contribution.staleness) ** -policy.staleness_exponent)
