"""Compares the updates of a round with each other, and makes the mean of those that agree (`robust = "aligned"`).

    jury     up to `JURY` devices of the round, drawn anew each time
    vouched  of each update the median of its cosines with the jury's
    core     all but `malicious_share` of the devices: those whose `vouched` is least are out
    kept     whose product with the sum of the core, less what is its own in it, is not negative

Liars who send the same vouch for each other. Near the end of learning honest updates are mostly noise: then the sum of
all others is the liars', and it is the honest ones who point against it. A median over devices is not moved by a fifth
of them, and whom it names is out of the measure before anybody is judged, as in `aggregator.heads.outliers`.

Products are of sketches (`aggregator.heads.sketches`): nothing is read again for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from aggregator.engine import Engine, LocalEngine, krum
from aggregator.heads.averaging import Contribution, Weights, gathered, mean_of
from aggregator.policy import AveragingPolicy, Robust
from headway.arrays import Bools, Float32, Float64
from headway.errors import LocalError

# devices whose updates all are compared with
JURY = 64
# share of a product of two long vectors that rounding may make, with a thousandfold to spare
ROUNDING = 1e-10


@dataclass(frozen=True, slots=True)
class Compared:
    """Each contribution of a round, as it is weighted and shortened, beside the sum of those that are kept, without its
    own part.

    kept: which agree with the core, bool (n,), all where none does; cosines: of the angles, 0 where one has no length;
    norms: of the contributions as they came; both float64 (n,). against: how many point against the sum of all others.
    """

    kept: Bools
    cosines: Float64
    norms: Float64
    against: int

    @classmethod
    def of(cls, contributions: Iterable[Contribution], worth: Weights, malicious_share: float) -> Compared:
        """Raises LocalError without contributions."""
        sketches = gathered(contributions).sketches()
        rows = np.multiply(sketches, np.array(worth.factors)[:, None], dtype=np.float64)
        everybody = np.ones(len(rows), bool)
        kept: Bools = _beside(rows, _core(rows, malicious_share))[0] >= 0.0
        if not kept.any():
            kept = everybody  # a round in which nobody agrees with anybody
        against = int((_beside(rows, everybody)[0] < 0.0).sum())
        return cls(kept, _beside(rows, kept)[1], np.array(worth.norms), against)


def _core(rows: Float64, malicious_share: float) -> Bools:
    """Without those of whom the jury says least. rows: float64 (n, k)."""
    count = len(rows)
    lengths = np.sqrt(_squares(rows))
    jury = np.arange(count) if count <= JURY else np.random.default_rng().permutation(count)[:JURY]
    cosines = rows @ rows[jury].T
    both = np.outer(lengths, lengths[jury])
    np.divide(cosines, both, out=cosines, where=both > 0.0)
    # nobody is heard about itself
    cosines[jury, np.arange(len(jury))] = np.inf
    cosines.sort(axis=1)
    heard = np.full(count, len(jury))
    heard[jury] -= 1
    vouched = cosines[np.arange(count), np.maximum(heard - 1, 0) // 2]
    core = np.ones(count, bool)
    core[np.argsort(vouched, kind="stable")[: int(malicious_share * count)]] = False
    return core


def _beside(rows: Float64, chosen: Bools) -> tuple[Float64, Float64]:
    """Of each its product with the sum of the chosen, less its own part in it, and the cosine between the two."""
    total = chosen.astype(np.float64) @ rows
    with_all, square, whole = rows @ total, _squares(rows), float(total @ total)
    own = np.where(chosen, square, 0.0)
    agreement = with_all - own
    # |T - o|^2 = |T|^2 - 2 T o + |o|^2; what is no more than rounding is nothing
    agreement[np.abs(agreement) <= ROUNDING * (np.abs(with_all) + square)] = 0.0
    others = whole - np.where(chosen, 2.0 * with_all, 0.0) + own
    others[others <= ROUNDING * (whole + square)] = 0.0
    lengths = np.sqrt(others * square)
    return agreement, np.divide(agreement, lengths, out=np.zeros(len(lengths)), where=lengths > 0.0)


def _squares(rows: Float64) -> Float64:
    """Of the lengths, float64 (n,), without an array as large as `rows`."""
    return np.asarray(np.einsum("ij,ij->i", rows, rows))


def aligned_mean(contributions: Iterable[Contribution], worth: Weights, compared: Compared) -> Float64:
    """The weighted mean of those that are kept, made as long as it was before shortening, float64 (C, d + 1).

    Raises LocalError without contributions.
    """
    samples = [count if kept else 0 for count, kept in zip(worth.samples, compared.kept.tolist(), strict=True)]
    return worth.lengthening(samples) * mean_of(contributions, replace(worth, samples=samples))


def robust_mean(
    contributions: Iterable[Contribution], worth: Weights, policy: AveragingPolicy, engine: Engine | None = None,
    compared: Compared | None = None,
) -> Float64:  # fmt: skip
    """What stands for the mean by `policy.robust`, float64 (D,); all but `ALIGNED` hold all contributions at once.

    compared: of these contributions, where that was made already.
    """
    if policy.robust is Robust.ALIGNED:
        given = gathered(contributions)
        compared = Compared.of(given, worth, policy.malicious_share) if compared is None else compared
        return aligned_mean(given, worth, compared).ravel()
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
