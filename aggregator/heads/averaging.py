"""Federated averaging of gradient updates, in which no device gains by what it claims.

    w <- w + eta * sum_i n_i clip(Delta_i) / sum_i n_i         one Delta_i of each device
    clip(Delta) = Delta * min(1, c / ||Delta||_2)
    s(t)        = (1 + t)^-a,  t = versions published since an update's base

What one device sent for a round is one contribution: the mean of its updates, each times s(t), weighted by its samples.
Its weight n_i are its samples, but no more than those of the device at the upper quartile of the round; c is the
configured longest update, but at most twice the length at the upper quartile. Both hold in rounds of four devices or
more; with fewer nobody is the measure of the others.

Sources: FedAvg (McMahan et al., AISTATS 2017) for the weighted mean; FedBuff (Nguyen et al., AISTATS 2022) for
buffered rounds and the staleness weight, which scales the step instead of being normalised away; clipping by norm
bounds what one device can do (Sun et al. 2019, Can You Really Backdoor Federated Learning?).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.heads.weighing import upper_quartile
from aggregator.policy import AveragingPolicy
from headway.arrays import Float32, Float64
from headway.errors import LocalError
from headway.wire import Update

# fewest devices of a round that are the measure of each other
DEVICES_MIN = 4
LENGTHS_OF_THE_USUAL = 2.0


@dataclass(frozen=True, slots=True)
class Contribution:
    """One device's part of a round. delta: float32 (C, d + 1), finite; staleness: t, 0 for a fresh one."""

    delta: Float32
    samples: int
    staleness: int = 0


def merged(
    updates: Iterable[Update], version: int, policy: AveragingPolicy, elsewhere: Sequence[int] = ()
) -> Contribution:
    """What one device sent for the head `version` as one contribution. Raises LocalError without an update.

    elsewhere: versions of heads that are not of this feature space, and so made no update of it stale.
    """
    total: Float64 | None = None
    samples = 0
    for update in updates:
        others = sum(update.base_version < other < version for other in elsewhere)
        staleness = max(0, version - 1 - update.base_version - others)
        weight = update.samples * (1.0 + staleness) ** -policy.staleness_exponent
        part = weight * update.delta.astype(np.float64)
        total = part if total is None else total + part
        samples += update.samples
    if total is None:
        raise LocalError("a contribution needs at least one update")
    return Contribution((total / samples).astype(np.float32), samples)


@dataclass(frozen=True, slots=True)
class Weights:
    """What each contribution of a round weighs, and the factor that shortens it, in the order given.

    claimed: samples of all of them, as the devices tell.
    """

    samples: list[int]
    scales: list[float]
    claimed: int


def weights_of(contributions: Iterable[Contribution], policy: AveragingPolicy) -> Weights:
    """How much each device moves the head."""
    claimed: list[int] = []
    norms: list[float] = []
    staleness: list[float] = []
    for contribution in contributions:
        claimed.append(contribution.samples)
        norms.append(float(np.linalg.norm(contribution.delta.astype(np.float64))))
        staleness.append((1.0 + contribution.staleness) ** -policy.staleness_exponent)
    samples_max, norm_max = policy.samples_max, policy.clip_norm
    if len(claimed) >= DEVICES_MIN:
        samples_max = min(samples_max, upper_quartile(sorted(claimed)))
        norm_max = min(norm_max, LENGTHS_OF_THE_USUAL * upper_quartile(sorted(norms)))
    clips = [1.0 if norm <= norm_max else norm_max / norm for norm in norms]
    scales = [a * b for a, b in zip(clips, staleness, strict=True)]
    return Weights([min(count, samples_max) for count in claimed], scales, sum(claimed))


def average(weights: Float32, contributions: Iterable[Contribution], policy: AveragingPolicy) -> Float32:
    """One round: the weights moved by the mean of the contributions, one of each device.

    They are gone through twice and held one at a time, so give something that can be iterated again.
    weights: float32 (C, d + 1) -> float32 (C, d + 1). Raises LocalError without contributions.
    """
    return moved(weights, contributions, weights_of(contributions, policy), policy.learning_rate)


def moved(weights: Float32, contributions: Iterable[Contribution], worth: Weights, learning_rate: float) -> Float32:
    """`average`, where it is known what each of the contributions is worth."""
    if not worth.samples:
        raise LocalError("an average needs at least one contribution")
    total = np.zeros(weights.shape, np.float64)
    for contribution, samples, scale in zip(contributions, worth.samples, worth.scales, strict=True):
        total += samples * scale * contribution.delta.astype(np.float64)
    result: Float32 = (weights + learning_rate * total / sum(worth.samples)).astype(np.float32)
    return result
