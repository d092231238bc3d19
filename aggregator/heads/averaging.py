"""Federated averaging of gradient updates, in which no device gains by what it claims.

    w <- w + eta * sum_i n_i clip(Delta_i) / sum_i n_i         one Delta_i of each device
    clip(Delta) = Delta * min(1, c / ||Delta||_2)
    s(t)        = (1 + t)^-a,  t = versions published since an update's base

What one device sent for a round is one contribution: the mean of its updates, each times s(t), weighted by its samples.
Its weight n_i are its samples, but no more than those of the device at the upper quartile of the round; c is the
configured longest update, but at most `norm_factor` times the length at the upper quartile. Both hold in rounds of
four devices or more; with fewer nobody is the measure of the others. What stands for the mean, and how it moves the
head, may be another: `aggregator.heads.agreement`, `aggregator.engine.robust`, `aggregator.heads.server_optimizers`.

Sources: FedAvg (McMahan et al., AISTATS 2017) for the weighted mean; FedBuff (Nguyen et al., AISTATS 2022) for
buffered rounds and the staleness weight, which scales the step instead of being normalised away; clipping by norm
bounds what one device can do (Sun et al. 2019, Can You Really Backdoor Federated Learning?).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.heads.exact_sum import ExactSum
from aggregator.heads.other_heads import OtherHeads
from aggregator.heads.sketches import Sketch
from aggregator.heads.weighing import upper_quartile
from aggregator.policy import AveragingPolicy
from headway.arrays import Float32, Float64
from headway.errors import LocalError
from headway.wire import Update

# fewest devices of a round that are the measure of each other
DEVICES_MIN = 4
# lengths at which a device still counts as long as it is, where a step is made up for what shortening took
STRETCH = 1.5
# a fleet of one feature space
NO_OTHERS = OtherHeads()


@dataclass(frozen=True, slots=True)
class Contribution:
    """One device's part of a round. delta: float32 (C, d + 1), finite; staleness: t, 0 for a fresh one."""

    delta: Float32
    samples: int
    staleness: int = 0
    device: str = ""


def merged(
    updates: Iterable[Update], version: int, policy: AveragingPolicy, others: OtherHeads = NO_OTHERS
) -> Contribution:
    """What one device sent for the head `version` as one contribution. Raises LocalError without an update.

    others: heads that are not of this feature space, and so made no update of it stale.
    """
    found = list(updates)
    if not found:
        raise LocalError("a contribution needs at least one update")

    if len(found) == 1:
        # as most rounds have it: no mean to make
        fresh = freshness(found[0].base_version, version, policy, others)
        return Contribution(freshened(found[0].delta, fresh), found[0].samples)
    samples = sum(update.samples for update in found)
    total = np.zeros(found[0].delta.shape)
    for update in found:
        fresh = freshness(update.base_version, version, policy, others)
        total += update.samples * fresh * update.delta.astype(np.float64)
    return Contribution((total / samples).astype(np.float32), samples)


def freshness(base_version: int, version: int, policy: AveragingPolicy, others: OtherHeads = NO_OTHERS) -> float:
    """s(t) of an update that began at the head `base_version`, in the round that makes `version`."""
    staleness = max(0, version - 1 - base_version - others.between(base_version, version))
    return float((1.0 + staleness) ** -policy.staleness_exponent)


def freshened(delta: Float32, fresh: float) -> Float32:
    """The delta of one update times s(t)."""
    factor = np.float32(fresh)
    return delta if factor == 1 else factor * delta


@dataclass(frozen=True, slots=True)
class Weights:
    """What each contribution of a round weighs, the factor that shortens it, and its length before, in the order given.

    claimed: samples of all of them, as the devices tell; reach: the longest that one can be times its weight; norm_max:
    what they are shortened to; norm_free: what `lengthening` reckons with.
    """

    samples: list[int]
    scales: list[float]
    norms: list[float]
    claimed: int
    reach: float
    norm_max: float
    norm_free: float

    @property
    def factors(self) -> list[float]:
        """What each delta is multiplied with."""
        return [samples * scale for samples, scale in zip(self.samples, self.scales, strict=True)]

    def lengthening(self, samples: Sequence[int]) -> float:
        """What makes the mean as long as if nobody up to `STRETCH` times the usual length had been shortened.

        samples: what each weighs. A quarter of honest updates is shortened in every round, which is no reason to learn
        more slowly; one device has no more of it than `STRETCH`.
        """
        short = sum(count * min(norm, self.norm_max) for count, norm in zip(samples, self.norms, strict=True))
        free = sum(count * min(norm, self.norm_free) for count, norm in zip(samples, self.norms, strict=True))
        return free / short if short else 1.0


@dataclass(frozen=True, slots=True)
class Measure:
    """Of one contribution: its samples, as the device tells, its length (L2 norm), and t."""

    samples: int
    norm: float
    staleness: int = 0


class Gathered:
    """The contributions of a round, gone through as often as a rule needs; each is held alone."""

    def __init__(self, each: Iterable[Contribution]) -> None:
        self._each = each

    def __iter__(self) -> Iterator[Contribution]:
        return iter(self._each)

    def measures(self) -> list[Measure]:
        """What weighing asks of each."""
        return [Measure(one.samples, length_of(one.delta), one.staleness) for one in self]

    def total(self, worth: Weights) -> Float64:
        """The sum of all, each times its factor, float64 (C, d + 1), to the same bits in any order.

        Raises LocalError without contributions.
        """
        total: ExactSum | None = None
        for contribution, factor in zip(self, worth.factors, strict=True):
            total = ExactSum(contribution.delta.shape, worth.reach) if total is None else total
            total.add(contribution.delta, factor)
        if total is None:
            raise LocalError("an average needs at least one contribution")
        return total.value()

    def sketches(self) -> Float32:
        """Of each, float32 (n, DIMENSIONS). Raises LocalError without contributions."""
        sketch: Sketch | None = None
        found = []
        for one in self:
            sketch = Sketch(one.delta.size) if sketch is None else sketch
            found.append(sketch.of(one.delta))
        if not found:
            raise LocalError("an average needs at least one contribution")
        return np.stack(found)


def gathered(contributions: Iterable[Contribution]) -> Gathered:
    """Contributions given as they are, or already gathered."""
    return contributions if isinstance(contributions, Gathered) else Gathered(contributions)


def length_of(delta: Float32) -> float:
    """L2 norm, in float64."""
    flat = delta.ravel().astype(np.float64)
    return math.sqrt(float(flat @ flat))


def weights_of(contributions: Iterable[Contribution], policy: AveragingPolicy, measured: bool = True) -> Weights:
    """How much each device moves the head. measured: by the others, too, not by the policy's bounds alone."""
    measures = gathered(contributions).measures()
    claimed, norms = [one.samples for one in measures], [one.norm for one in measures]
    samples_max, norm_max = policy.samples_max, policy.clip_norm
    if measured and len(claimed) >= DEVICES_MIN:
        samples_max = min(samples_max, upper_quartile(sorted(claimed)))
        norm_max = min(norm_max, policy.norm_factor * upper_quartile(sorted(norms)))
    scales = [shortened(one.norm, norm_max) * (1.0 + one.staleness) ** -policy.staleness_exponent for one in measures]
    reach = policy.samples_max * policy.clip_norm
    weights = [min(count, samples_max) for count in claimed]
    return Weights(weights, scales, norms, sum(claimed), reach, norm_max, min(policy.clip_norm, STRETCH * norm_max))


def shortened(norm: float, norm_max: float) -> float:
    """The factor that makes something of this length no longer than `norm_max`."""
    return 1.0 if norm <= norm_max else norm_max / norm


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
    return gathered(contributions).total(worth) / sum(worth.samples)
