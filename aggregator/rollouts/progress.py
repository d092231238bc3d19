"""What a device has confirmed of a rollout's bundle: only what it said itself counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from aggregator.store import DeviceRow
from aggregator.store.rows import RolloutRow, TrialRow
from headway.errors import RemoteError
from headway.wire import Reported, TrialReport


class DeviceState(StrEnum):
    """Of one device in a rollout. Each but WAITING, ORDERED, SENT and RETURNING is what the device said."""

    WAITING = "waiting"
    ORDERED = "ordered"
    TRYING = "trying"
    UNTRIED = "untried"
    SENT = "sent"
    THERE = "there"
    FAILED = "failed"
    RETURNING = "returning"
    ROLLED_BACK = "rolled-back"


# those that load or switch; no more than `max_at_once` at a time
BUSY = frozenset({DeviceState.ORDERED, DeviceState.SENT})
# those that have not begun, or cannot try a bundle
NOT_BEGUN = frozenset({DeviceState.WAITING, DeviceState.UNTRIED})


@dataclass(frozen=True, slots=True)
class Said:
    """What a device says. runs: release of the bundle that it runs, 0 for unknown; there: it runs the rollout's, and no
    trial of the process is left; refused: why it did not take it, or empty; returned: that it went back by itself,
    and why, or empty; trial: of this bundle; tries: whether the device can try bundles at all."""

    runs: int
    there: bool
    refused: str
    returned: str
    trial: TrialReport | None
    tries: bool

    @classmethod
    def of(cls, device: DeviceRow, row: TrialRow | None, rollout: RolloutRow) -> Said:
        """Read from what is stored of it."""
        told = None if row is None else TrialReport.decode(row.payload)
        trial = told if told is not None and told.sha256 == rollout.sha256 else None
        refused = "" if trial is None or trial.state != "failed" else trial.problem or "the trial failed"
        reported = _reported(device)
        if reported is None:
            return cls(0, False, refused, "", trial, told is not None)
        there = reported.release == rollout.release and reported.bundle == rollout.bundle and not reported.delivery
        if reported.delivery.startswith(f"release {rollout.release} failed here"):
            refused = refused or reported.delivery
        returned = reported.delivery if reported.delivery.startswith("rolled back to release") else ""
        return cls(reported.release, there, refused, returned, trial, told is not None)

    def moved(self, state: DeviceState) -> tuple[DeviceState, str]:
        """The state after this, and the problem if there is one."""
        if state is DeviceState.RETURNING:
            return (state if self.there else DeviceState.ROLLED_BACK), ""
        if self.there:
            return DeviceState.THERE, ""
        if self.refused and state is not DeviceState.WAITING:
            return DeviceState.FAILED, self.refused
        if self.returned and state in (DeviceState.SENT, DeviceState.THERE):
            return DeviceState.FAILED, self.returned
        if state is DeviceState.ORDERED and self.trial is not None:
            return DeviceState.TRYING, ""
        return state, ""


def _reported(device: DeviceRow) -> Reported | None:
    try:
        return Reported.decode(device.reported) if device.reported else None
    except RemoteError:
        return None  # stored by a version that reported otherwise
