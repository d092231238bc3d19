"""Federated averaging of gradient updates, in which no device gains by what it claims.

    w <- w + eta * sum_i n_i clip(Delta_i) / sum_i n_i         one Delta_i of each device
    clip(Delta) = Delta * min(1, c / ||Delta||_2)
    s(t)        = (1 + t)^-a,  t = versions published since an update's base

What one device sent for a round is one contribution: the mean of its updates, each times s(t), weighted by its samples.
Its weight n_i are its samples, but no more than those of the device at the upper quartile of the round; c is the
configured longest update, but at most `norm_factor` times the length at the upper quartile. Both hold in rounds of
four devices or more; with fewer nobody is the measure of the others. What stands for the mean, and how it moves the
head, may be another: `aggregator.engine.robust`, `aggregator.heads.server_optimizers`.

Sources: FedAvg (McMahan et al., AISTATS 2017) for the weighted mean; FedBuff (Nguyen et al., AISTATS 2022) for
buffered rounds and the staleness weight, which scales the step instead of being normalised away; clipping by norm
bounds what one device can do (Sun et al. 2019, Can You Really Backdoor Federated Learning?).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aggregator.engine import Engine, LocalEngine, krum
from aggregator.heads.weighing import upper_quartile
from aggregator.policy import AveragingPolicy, Robust
from headway.arrays import Float32, Float64
from headway.errors import LocalError
from headway.wire import Update

# fewest devices of a round that are the measure of each other
DEVICES_MIN = 4


@dataclass(frozen=True, slots=True)
class Contribution:
    """One device's part of a round. delta: float32 (C, d + 1), finite; staleness: t, 0 for a fresh one."""

    delta: Float32
    samples: int
    staleness: int = 0
    device: str = ""


def merged(
    updates: Iterable[Update], version: int, policy: AveragingPolicy, elsewhere: Sequence[int] = ()
) -> Contribution:
    """What one device sent for the head `version` as one contribution. Raises LocalError without an update.

    elsewhere: versions of heads that are not of this feature space, and so made no update of it stale.
    """
    found = list(updates)
    if not found:
        raise LocalError("a contribution needs at least one update")

    def freshness(update: Update) -> float:
        others = sum(update.base_version < other < version for other in elsewhere)
        staleness = max(0, version - 1 - update.base_version - others)
        return float((1.0 + staleness) ** -policy.staleness_exponent)

    if len(found) == 1:
        # as most rounds have it: no mean to make, and nothing to scale of a fresh one
        factor = np.float32(freshness(found[0]))
        return Contribution(found[0].delta if factor == 1 else factor * found[0].delta, found[0].samples)
    samples = sum(update.samples for update in found)
    total = np.zeros(found[0].delta.shape)
    for update in found:
        total += update.samples * freshness(update) * update.delta.astype(np.float64)
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
        delta = contribution.delta.ravel().astype(np.float64)
        norms.append(math.sqrt(float(delta @ delta)))
        staleness.append((1.0 + contribution.staleness) ** -policy.staleness_exponent)
    samples_max, norm_max = policy.samples_max, policy.clip_norm
    if len(claimed) >= DEVICES_MIN:
        samples_max = min(samples_max, upper_quartile(sorted(claimed)))
        norm_max = min(norm_max, policy.norm_factor * upper_quartile(sorted(norms)))
    clips = [1.0 if norm <= norm_max else norm_max / norm for norm in norms]
    scales = [a * b for a, b in zip(clips, staleness, strict=True)]
    return Weights([min(count, samples_max) for count in claimed], scales, sum(claimed))


def average(weights: Float32, contributions: Iterable[Contribution], policy: AveragingPolicy) -> Float32:
    """One round of FedAvg: the weights moved by the mean of the contributions, one of each device.

    They are gone through twice and held one at a time, so give something that can be iterated again.
    weights: float32 (C, d + 1) -> float32 (C, d + 1). Raises LocalError without contributions.
    """
    mean = mean_of(contributions, weights_of(contributions, policy))
    return moved(weights, policy.learning_rate * mean)


def moved(weights: Float32, step: Float64) -> Float32:
    """weights: float32 (C, d + 1); step: float64 of as many entries, in any shape."""
    result: Float32 = (weights + step.reshape(weights.shape)).astype(np.float32)
    return result


def mean_of(contributions: Iterable[Contribution], worth: Weights) -> Float64:
    """The weighted mean, float64 (C, d + 1), in memory for one of them. Raises LocalError without contributions."""
    total: Float64 | None = None
    for contribution, samples, scale in zip(contributions, worth.samples, worth.scales, strict=True):
        if total is None:
            total, part = np.zeros(contribution.delta.shape), np.empty(contribution.delta.shape)
        # in float64: of a float32 array and a number NumPy would take the product in float32
        np.multiply(contribution.delta, samples * scale, out=part, dtype=np.float64)
        total += part
    if total is None:
        raise LocalError("an average needs at least one contribution")
    return total / sum(worth.samples)


def aligned_mean(contributions: Iterable[Contribution], worth: Weights) -> Float64:
    """The weighted mean of those that do not point against all others together, float64 (C, d + 1).

    They are gone through three times and held one at a time. Raises LocalError without contributions.
    """
    total = mean_of(contributions, worth) * sum(worth.samples)
    kept = []
    for contribution, samples, scale in zip(contributions, worth.samples, worth.scales, strict=True):
        own = samples * scale * contribution.delta.astype(np.float64)
        kept.append(samples if float(np.vdot(own, total - own)) >= 0.0 else 0)
    if not any(kept):
        return total / sum(worth.samples)  # a round in which nobody agrees with anybody
    return mean_of(contributions, replace(worth, samples=kept))


def robust_mean(
    contributions: Iterable[Contribution], worth: Weights, policy: AveragingPolicy, engine: Engine | None = None
) -> Float64:
    """What stands for the mean by `policy.robust`, float64 (D,); all but `ALIGNED` hold all contributions at once."""
    if policy.robust is Robust.ALIGNED:
        return aligned_mean(contributions, worth).ravel()
    rows: Float32 | None = None
    for at, (contribution, scale) in enumerate(zip(contributions, worth.scales, strict=True)):
        if rows is None:
            rows = np.empty((len(worth.scales), contribution.delta.size), np.float32)
        rows[at] = scale * contribution.delta.ravel()
    if rows is None:
        raise LocalError("an average needs at least one contribution")
    malicious = int(policy.malicious_share * len(rows))
    engine = LocalEngine() if engine is None else engine
    match policy.robust:
        case Robust.MEDIAN:
            return engine.median(rows)
        case Robust.TRIMMED_MEAN:
            return engine.trimmed_mean(rows, policy.malicious_share)
        case Robust.KRUM:
            return krum(rows, worth.samples, malicious, 1, engine.krum_scores(rows, malicious))[0]
        case Robust.MULTI_KRUM:
            kept = max(1, len(rows) - malicious)
            return krum(rows, worth.samples, malicious, kept, engine.krum_scores(rows, malicious))[0]
        case _:
            raise LocalError(f"{policy.robust} is no rule over all contributions at once")
