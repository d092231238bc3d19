"""What each stage of a rollout shows so far, from the store: people see the same as the service decides by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from aggregator.rollouts.plan import Stage, stored_plan
from aggregator.rollouts.verdict import Comparison, Criteria, Outcome, compared, judged
from aggregator.store import ReadableStore
from aggregator.store.rows import TRIALS, RolloutDeviceRow, RolloutRow
from headway.errors import RemoteError
from headway.maths import PairedLoss
from headway.wire import TrialReport

# reports of devices whose sums are remembered, about a kilobyte each
TOLD_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class StageEvidence:
    """A stage. states: how many of its devices are in each. frozen, served: paired losses of the trials by which it is
    judged, those of the stages before included where it has too few devices of its own."""

    number: int
    stage: Stage
    states: dict[str, int]
    criteria: Criteria
    frozen: Comparison
    served: Comparison

    @property
    def devices(self) -> int:
        """That are in it so far."""
        return sum(self.states.values())

    @property
    def outcome(self) -> Outcome:
        """What the labels say together."""
        outcomes = {judged(each, self.criteria).outcome for each in (self.frozen, self.served)}
        return next(one for one in (Outcome.FAILED, Outcome.UNDECIDED, Outcome.PASSED) if one in outcomes)


def stage_evidence(
    store: ReadableStore, rollout: RolloutRow, rows: Sequence[RolloutDeviceRow]
) -> list[StageEvidence]:  # fmt: skip
    """Of every stage of the plan, in turn. rows: all of the rollout's. In a picture of the store."""
    plan = stored_plan(rollout.plan)
    trials = _trials(store, rollout.sha256)
    found = []
    for number, stage in enumerate(plan.stages):
        own, criteria = [row for row in rows if row.stage == number], plan.criteria(number)
        judging = own if len(own) >= criteria.devices_min else [row for row in rows if row.stage <= number]
        told = _of(judging if own else [], trials)
        states = Counter(row.state for row in own)
        found.append(
            StageEvidence(
                number + 1, stage, dict(sorted(states.items())), criteria,
                compared([one.frozen for one in told]), compared([one.served for one in told]),
            )
        )  # fmt: skip
    return found


def _trials(store: ReadableStore, sha256: str) -> dict[str, Losses]:
    """What devices told of this bundle."""
    told = ((row.device, _losses(row.payload)) for row in store.rows(TRIALS).all())
    return {device: losses for device, losses in told if losses is not None and losses.sha256 == sha256}


def _of(rows: Sequence[RolloutDeviceRow], trials: Mapping[str, Losses]) -> list[Losses]:
    return [trials[row.device] for row in rows if row.device in trials]


@dataclass(frozen=True, slots=True)
class Losses:
    """What a device told of a bundle."""

    sha256: str
    frozen: PairedLoss
    served: PairedLoss


@lru_cache(maxsize=TOLD_KEPT)
def _losses(payload: bytes) -> Losses | None:
    """Most devices have told nothing new since somebody looked last, and reading is what costs."""
    try:
        report = TrialReport.decode(payload)
    except RemoteError:
        return None  # stored by a version that wrote it otherwise
    return Losses(report.sha256, report.frozen, report.served)
