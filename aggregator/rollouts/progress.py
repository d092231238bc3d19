"""What a device has confirmed of a rollout's bundle: only what it said itself counts."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aggregator.store import DeviceRow
from aggregator.store.rows import RolloutRow, TrialRow
from headway.errors import RemoteError
from headway.wire import Reported, TrialReport


class DeviceState(StrEnum):
    """Of one device in a rollout. Each but WAITING, ORDERED, SENT, WITHDRAWN and RETURNING is what the device said.

    NEWER: it runs a newer release. WITHDRAWN: it was to switch when the rollout was halted, and may have done so.
    """

    WAITING = "waiting"
    ORDERED = "ordered"
    TRYING = "trying"
    UNTRIED = "untried"
    SENT = "sent"
    THERE = "there"
    FAILED = "failed"
    NEWER = "newer"
    WITHDRAWN = "withdrawn"
    RETURNING = "returning"
    ROLLED_BACK = "rolled-back"


# those that load or switch; no more than `max_at_once` at a time
BUSY = frozenset({DeviceState.ORDERED, DeviceState.SENT})
# those that have not begun, or cannot try a bundle
NOT_BEGUN = frozenset({DeviceState.WAITING, DeviceState.UNTRIED})
# those that were told to switch, and have not said what came of it
MAY_SWITCH = frozenset({DeviceState.SENT, DeviceState.WITHDRAWN})


@dataclass(frozen=True, slots=True)
class Said:
    """What a device says. has: it runs the rollout's bundle; there: it does, and no trial of the process is left;
    newer: it runs a newer release; refused: why it did not take the bundle, or empty; returned: that it went back by
    itself, and why, or empty; stays: why it cannot go back, or empty; trial: of this bundle; tries: whether the device
    can try bundles at all."""

    has: bool
    there: bool
    newer: bool
    refused: str
    returned: str
    stays: str
    trial: TrialReport | None
    tries: bool

    @classmethod
    def of(cls, device: DeviceRow, row: TrialRow | None, rollout: RolloutRow) -> Said:
        """Read from what is stored of it."""
        told = None if row is None else TrialReport.decode(row.payload)
        trial = told if told is not None and told.sha256 == rollout.sha256 else None
        refused = "" if trial is None or trial.state != "failed" else trial.problem or "the trial failed"
        reported = reported_of(device)
        if reported is None:
            return cls(False, False, False, refused, "", "", trial, told is not None)
        delivery, release = reported.delivery, f"release {rollout.release} "
        stays = delivery if delivery.startswith(f"{release}cannot be rolled back") else ""
        runs = reported.bundle, reported.bundle_version, reported.space, reported.release
        has = runs == (rollout.bundle, rollout.version, rollout.space, rollout.release)
        newer = reported.release > rollout.release
        no = (f"{release}failed here", f"{release}is not newer", f"bundle has {rollout.size} bytes")
        if delivery.startswith(no) and not newer:
            refused = refused or delivery
        returned = delivery if delivery.startswith("rolled back to release") else ""
        there = has and (not delivery or bool(stays))
        return cls(has, there, newer, refused, returned, stays, trial, told is not None)

    def moved(self, state: DeviceState) -> tuple[DeviceState, str]:
        """The state after this, and the problem if there is one."""
        if state is DeviceState.RETURNING:
            if self.stays:
                return DeviceState.FAILED, self.stays
            return (state if self.has else DeviceState.ROLLED_BACK), ""
        if self.stays and state is DeviceState.FAILED:
            return state, self.stays
        if self.there:
            return DeviceState.THERE, ""
        if self.newer and (state in BUSY or state in NOT_BEGUN or state is DeviceState.TRYING):
            return DeviceState.NEWER, ""
        if self.refused and state is not DeviceState.WAITING:
            return DeviceState.FAILED, self.refused
        if self.returned and state in (DeviceState.SENT, DeviceState.THERE):
            return DeviceState.FAILED, self.returned
        if state is DeviceState.ORDERED and self.trial is not None:
            return DeviceState.TRYING, ""
        return state, ""


class Hearing:
    """What every device says of the bundles of rollouts, tick after tick.

    Few say something new between two ticks, and to read a report takes longer than all else that is done with it.
    """

    def __init__(self) -> None:
        # by bundle and device: what was read, and what it means
        self._heard: dict[str, dict[str, tuple[tuple[bytes, bytes | None], Said]]] = {}

    def of(
        self, rollout: RolloutRow, devices: Mapping[str, DeviceRow], told: Mapping[str, TrialRow]
    ) -> dict[str, Said]:
        """By device. told: of those that have tried a bundle."""
        before, heard = self._heard.get(rollout.sha256, {}), {}
        for name, device in devices.items():
            row, last = told.get(name), before.get(name)
            given = (device.reported, None if row is None else row.payload)
            heard[name] = last if last is not None and last[0] == given else (given, Said.of(device, row, rollout))
        self._heard[rollout.sha256] = heard
        return {name: said for name, (_, said) in heard.items()}

    def forget_but(self, bundles: Container[str]) -> None:
        """Keep what is known of these alone. bundles: their hashes."""
        self._heard = {sha256: heard for sha256, heard in self._heard.items() if sha256 in bundles}


def reported_of(device: DeviceRow) -> Reported | None:
    """What it reported last; None for nothing that can be read."""
    try:
        return Reported.decode(device.reported) if device.reported else None
    except RemoteError:
        return None  # stored by a version that reported otherwise
