"""The devices of a rollout at one moment: what they decide together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from aggregator.rollouts.plan import Plan
from aggregator.rollouts.progress import BUSY, NOT_BEGUN, DeviceState, Said
from aggregator.rollouts.verdict import Criteria, Outcome, Verdict, compared, judged
from aggregator.store.rows import RolloutDeviceRow

DEVICES_TIMED_MIN = 3


@dataclass(frozen=True, slots=True)
class RolloutDevices:
    """The devices of a rollout at one moment, in the order in which they begin; said: of all devices of the fleet;
    silent: those that have said nothing for long, and since their stage began; gone: nothing since `gone_since_s`."""

    rows: list[RolloutDeviceRow]
    said: dict[str, Said]
    silent: set[str]
    gone: set[str] = field(default_factory=set)
    gone_since_s: float = float("-inf")

    @property
    def silent_count(self) -> int:
        """Devices of which nothing is known, because they are silent."""
        decided = (DeviceState.THERE, DeviceState.FAILED, DeviceState.NEWER)
        return sum(row.device in self.silent and row.state not in decided for row in self.rows)

    def free(self, plan: Plan) -> int:
        """How many more may load or switch. Who was told to and has been gone for long holds nobody up; what became of
        it stays unknown, and it counts again when it comes back."""
        return plan.max_at_once - sum(row.state in BUSY and not self.is_gone(row) for row in self.rows)

    def is_gone(self, row: RolloutDeviceRow) -> bool:
        """Whether it has said nothing for long, and was told what it has not confirmed long ago."""
        return row.device in self.gone and row.since_s < self.gone_since_s

    def verdict(self, stage: int, criteria: Criteria) -> Verdict:
        """On the trials of a stage, those of the stages before included where it has too few devices of its own: frozen
        and served heads must both be no worse."""
        own = [row for row in self.rows if row.stage == stage]
        trials = [self.said[row.device].trial for row in (own if len(own) >= criteria.devices_min else self.rows)]
        told = [trial for trial in trials if trial is not None]
        found = {
            "frozen": judged(compared([trial.frozen for trial in told]), criteria),
            "served": judged(compared([trial.served for trial in told]), criteria),
        }
        outcomes = {verdict.outcome for verdict in found.values()}
        outcome = next(one for one in (Outcome.FAILED, Outcome.UNDECIDED, Outcome.PASSED) if one in outcomes)
        return Verdict(outcome, "; ".join(f"{heads} heads: {verdict.why}" for heads, verdict in found.items()))

    def problem(self, plan: Plan) -> str:
        """What ends a rollout whatever labels say: devices on which the bundle failed, windows that take too long."""
        failed = [row for row in self.rows if row.state == DeviceState.FAILED]
        begun = sum(row.state not in NOT_BEGUN and row.state != DeviceState.NEWER for row in self.rows)
        if len(failed) > plan.failures_share_max * begun:
            return f"it failed on {len(failed)} of {begun} devices, on {failed[0].device}: {failed[0].problem}"
        trials = [one.trial for one in self.said.values() if one.trial is not None]
        ratios = [t.latency_new_ms / t.latency_old_ms for t in trials if t.latency_old_ms > 0 and t.latency_new_ms > 0]
        ratio = statistics.median(ratios) if len(ratios) >= DEVICES_TIMED_MIN else 0.0
        if plan.latency_ratio_max and ratio > plan.latency_ratio_max:
            return f"a window takes {ratio:.2f} times as long, latency_ratio_max is {plan.latency_ratio_max:g}"
        return ""
