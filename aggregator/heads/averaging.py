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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from aggregator.engine import Engine, LocalEngine, krum
from aggregator.heads.exact_sum import ExactSum
from aggregator.heads.other_heads import OtherHeads
from aggregator.heads.weighing import upper_quartile
from aggregator.policy import AveragingPolicy, Robust
from headway.arrays import Float32, Float64
from headway.errors import LocalError
from headway.wire import Update

# fewest devices of a round that are the measure of each other
DEVICES_MIN = 4
# a fleet of one feature space
NO_OTHERS = OtherHeads()
# share of a product of two long vectors that rounding may make, with a thousandfold to spare
ROUNDING = 1e-10


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

    claimed: samples of all of them, as the devices tell; reach: the longest that one can be times its weight.
    """

    samples: list[int]
    scales: list[float]
    norms: list[float]
    claimed: int
    reach: float

    @property
    def factors(self) -> list[float]:
        """What each delta is multiplied with."""
        return [samples * scale for samples, scale in zip(self.samples, self.scales, strict=True)]


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

    def products(self, other: Float64) -> Float64:
        """Of each with `other`, float64 (C, d + 1) -> float64 (n,)."""
        flat = other.ravel()
        return np.array([flat @ one.delta.ravel().astype(np.float64) for one in self])


def gathered(contributions: Iterable[Contribution]) -> Gathered:
    """Contributions given as they are, or already gathered."""
    return contributions if isinstance(contributions, Gathered) else Gathered(contributions)


def length_of(delta: Float32) -> float:
    """L2 norm, in float64."""
    flat = delta.ravel().astype(np.float64)
    return math.sqrt(float(flat @ flat))


def weights_of(contributions: Iterable[Contribution], policy: AveragingPolicy) -> Weights:
    """How much each device moves the head."""
    measures = gathered(contributions).measures()
    claimed, norms = [one.samples for one in measures], [one.norm for one in measures]
    samples_max, norm_max = policy.samples_max, policy.clip_norm
    if len(claimed) >= DEVICES_MIN:
        samples_max = min(samples_max, upper_quartile(sorted(claimed)))
        norm_max = min(norm_max, policy.norm_factor * upper_quartile(sorted(norms)))
    scales = [shortened(one.norm, norm_max) * (1.0 + one.staleness) ** -policy.staleness_exponent for one in measures]
    reach = policy.samples_max * policy.clip_norm
    return Weights([min(count, samples_max) for count in claimed], scales, norms, sum(claimed), reach)


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


@dataclass(frozen=True, slots=True)
class Compared:
    """Each contribution of a round, as it is weighted and shortened, beside all others together.

    total: the sum of all, float64 (C, d + 1). agreement: of each its product with the sum of the others; cosines: of
    the angles between them, 0 where one has no length; both float64 (n,). norms: of the contributions as they came.
    """

    total: Float64
    agreement: Float64
    cosines: Float64
    norms: Float64

    @classmethod
    def of(cls, contributions: Iterable[Contribution], worth: Weights) -> Compared:
        """They are gone through twice. Raises LocalError without contributions."""
        given = gathered(contributions)
        factors, norms = np.array(worth.factors), np.array(worth.norms)
        total = given.total(worth)
        with_all, square = factors * given.products(total), (factors * norms) ** 2
        agreement, whole = with_all - square, float(np.vdot(total, total))
        # |T - o|^2 = |T|^2 - 2 T o + |o|^2; what is no more than rounding is nothing
        agreement[np.abs(agreement) <= ROUNDING * (np.abs(with_all) + square)] = 0.0
        others = whole - 2.0 * with_all + square
        others[others <= ROUNDING * (whole + square)] = 0.0
        lengths = np.sqrt(others * square)
        cosines = np.divide(agreement, lengths, out=np.zeros(len(lengths)), where=lengths > 0.0)
        return cls(total, agreement, cosines, norms)


def aligned_mean(contributions: Iterable[Contribution], worth: Weights, compared: Compared | None = None) -> Float64:
    """The weighted mean of those that do not point against all others together, float64 (C, d + 1).

    They are gone through three times and held one at a time. Raises LocalError without contributions.
    """
    given = gathered(contributions)
    compared = Compared.of(given, worth) if compared is None else compared
    kept = [samples if agrees >= 0.0 else 0 for samples, agrees in zip(worth.samples, compared.agreement, strict=True)]
    if not any(kept):
        return compared.total / sum(worth.samples)  # a round in which nobody agrees with anybody
    if kept == worth.samples:
        return compared.total / sum(kept)
    return mean_of(given, replace(worth, samples=kept))


def robust_mean(
    contributions: Iterable[Contribution], worth: Weights, policy: AveragingPolicy, engine: Engine | None = None,
    compared: Compared | None = None,
) -> Float64:  # fmt: skip
    """What stands for the mean by `policy.robust`, float64 (D,); all but `ALIGNED` hold all contributions at once.

    compared: of these contributions, where that was made already.
    """
    if policy.robust is Robust.ALIGNED:
        return aligned_mean(contributions, worth, compared).ravel()
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
