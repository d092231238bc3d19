"""Runs the rollouts: who is ordered what and when, which stage has passed, and when everything stops.

    stage:  order on trial -> devices try it beside the old one -> verdict -> switch -> soak -> next stage
                                                                     |        |
                                                                   halted   halted (and back, when asked)

No device of a stage switches before the verdict on that stage. Everything is decided from the store, so that a restart
at any moment goes on: orders are rows that the bundle sender announces, and what devices confirmed are rows, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from aggregator.bundle_sender import BEFORE, EVERYBODY, order
from aggregator.effects import Effect, Instant, Note
from aggregator.rollouts.members import members
from aggregator.rollouts.plan import Plan, stored_plan
from aggregator.rollouts.progress import MAY_SWITCH, NOT_BEGUN, DeviceState, Hearing, Said
from aggregator.rollouts.rollout_devices import RolloutDevices
from aggregator.rollouts.states import LATE, OPEN, TAKES, UNDER_WAY, Act, Phase, State
from aggregator.rollouts.verdict import Outcome
from aggregator.store import DeliveryRow, EventRow, Store
from aggregator.store.rows import (
    ROLLOUT_ACTS,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    TRIALS,
    RolloutActRow,
    RolloutDeviceRow,
    RolloutRow,
    TrialRow,
)
from headway.errors import ConfigError
from headway.fields import canonical_json
from headway.wire import AGGREGATOR, ROLL_BACK, SWITCH, TRIAL, TrialReport

INTERVAL_S = 1.0
# a fleet of 10,000 is looked at every ten seconds
DEVICES_PER_S = 1000
# a device that has said nothing since its stage began to switch, nor for so long, is unknown: it never counts as
# success, and no longer holds the stage once this share of the devices answered. Nor does one that has said nothing for
# so long since it was told to load or switch hold one of the places of `max_at_once`
SILENT_S, ANSWERED_SHARE_MIN = 3600.0, 0.8
NOBODY = "_rollouts"
FOLLOW_INTERVAL_S = 10.0


class Rollouts:
    """The rollouts of one fleet. Construct it, and call every method, inside a transaction of the store.

    admit: makes sure that a device is known. events_max: events that the store keeps.
    """

    def __init__(self, store: Store, admit: Callable[[str, Instant], object], events_max: int) -> None:
        self._store, self._admit, self._events_max = store, admit, events_max
        self._due_at_s = self._followed_at_s = float("-inf")
        self._notes: list[Effect] = []
        self._hearing = Hearing()

    def on_trial(self, device: str, payload: bytes, now: Instant) -> None:
        """A device tells how a bundle on trial does. Raises RemoteError."""
        report = TrialReport.decode(payload)
        self._admit(device, now)
        row = self._store.rows(TRIALS).get(device)
        if row is not None and row.payload != payload:
            known = TrialReport.decode(row.payload)
            if known.sha256 == report.sha256 and known.counter > report.counter:
                return  # an older one, late
            if report.state == "none" and self._tried(known.sha256):
                return  # the device switched, or was told to drop it: what it has shown still counts
        self._store.rows(TRIALS).put(TrialRow(device, payload, now.wall_s))

    def tick(self, now: Instant) -> list[Effect]:
        """Whatever acts, devices and time have brought."""
        if now.monotonic_s < self._due_at_s:
            return []
        self._due_at_s = now.monotonic_s + INTERVAL_S
        for act in self._store.rows(ROLLOUT_ACTS).all():
            self._take(act, now)
            self._store.rows(ROLLOUT_ACTS).remove(act.number)
        advanced = set()
        for state in (State.RUNNING, State.WAITS, State.ROLLING_BACK):
            for rollout in self._store.rows(ROLLOUTS).where(state=str(state)):
                self._advance(rollout, stored_plan(rollout.plan), now)
                advanced.add(rollout.sha256)
        self._hearing.forget_but(advanced)
        self._follow_late_ones(now)
        notes, self._notes = self._notes, []
        return notes

    def _tried(self, sha256: str) -> bool:
        """Whether a rollout of this bundle is not over."""
        rows = self._store.rows(ROLLOUTS)
        return any(rows.where(state=str(state), sha256=sha256) for state in OPEN)

    def _take(self, act: RolloutActRow, now: Instant) -> None:
        rollout = self._store.rows(ROLLOUTS).get(act.rollout)
        if rollout is None or Act(act.act) not in TAKES[State(rollout.state)]:
            return  # the state has changed since it was asked for
        said = f"{act.act} by {act.who}" + (f": {act.remark}" if act.remark else "")
        match Act(act.act):
            case Act.PAUSE:
                self._set(rollout, State.PAUSED, said, now)
            case Act.RESUME:
                self._set(replace(rollout, phase_since_s=now.wall_s), State.RUNNING, said, now)
            case Act.APPROVE:
                self._go_on(rollout, said, now)
            case Act.HALT:
                self._halt(rollout, State.HALTED, said, now)
            case Act.ROLL_BACK:
                self._halt(rollout, State.ROLLING_BACK, said, now)

    def _advance(self, rollout: RolloutRow, plan: Plan, now: Instant) -> None:
        known = {row.device: row for row in self._store.devices()}
        self._due_at_s = now.monotonic_s + max(INTERVAL_S, len(known) / DEVICES_PER_S)
        told = {row.device: row for row in self._store.rows(TRIALS).all()}
        silent_since_s = min(rollout.phase_since_s, now.wall_s - SILENT_S)
        silent = {name for name, row in known.items() if row.last_seen_s < silent_since_s}
        gone = {name for name, row in known.items() if row.last_seen_s < now.wall_s - SILENT_S}
        said = self._hearing.of(rollout, known, told)
        fleet = RolloutDevices([], said, silent, gone, now.wall_s - SILENT_S)
        try:
            joined = self._joined(rollout, plan, known, now)
        except ConfigError as error:
            self._set(rollout, State.PAUSED, f"stage {rollout.stage + 1}: {error}", now)
            return
        for row in joined:
            if row.device in fleet.said:
                fleet.rows.append(self._put(row, *fleet.said[row.device].moved(DeviceState(row.state)), now))
        if rollout.state == State.ROLLING_BACK:
            self._return(rollout, fleet, now)
            return
        problem = fleet.problem(plan.in_stage(rollout.stage))
        if problem:
            self._halt(rollout, State.HALTED, problem, now)
        elif rollout.state == State.WAITS:
            self._judge(rollout, plan, fleet, now)
        elif rollout.phase == Phase.TRIAL:
            self._try(rollout, plan, fleet, now)
        else:
            self._switch(rollout, plan, fleet, now)

    def _joined(
        self, rollout: RolloutRow, plan: Plan, known: Iterable[str], now: Instant
    ) -> Iterable[RolloutDeviceRow]:
        """The devices of this stage and those before it; new ones of the fleet come in with the last stage."""
        kept = {row.device: row for row in self._store.rows(ROLLOUT_DEVICES).all(rollout.name)}
        # a stage may be approved before anybody has looked at who is in it
        begins = rollout.phase == Phase.TRIAL or all(row.stage != rollout.stage for row in kept.values())
        if rollout.state == State.RUNNING and (begins or rollout.stage == len(plan.stages) - 1):
            salt = f"{rollout.name}/{rollout.number}"
            for device in members(self._store, plan.stages[rollout.stage], known, salt, now.wall_s):
                if device not in kept:
                    kept[device] = RolloutDeviceRow(
                        rollout.name, device, rollout.stage, DeviceState.WAITING, "", now.wall_s
                    )
                    self._store.rows(ROLLOUT_DEVICES).put(kept[device])
        return kept.values()

    def _try(self, rollout: RolloutRow, plan: Plan, fleet: RolloutDevices, now: Instant) -> None:
        stage = plan.stages[rollout.stage]
        waited_s = now.wall_s - rollout.phase_since_s
        # at random times: the order of devices is drawn
        begun = len(fleet.rows) if not plan.start_within_s else waited_s / plan.start_within_s * len(fleet.rows)
        free = fleet.free(plan)
        for place, row in enumerate(fleet.rows):
            if row.state not in NOT_BEGUN:
                continue
            if not fleet.said[row.device].tries:
                self._put(row, DeviceState.UNTRIED, "", now)
            elif free > 0 and place < begun:
                self._deliver(rollout, row, TRIAL, DeviceState.ORDERED, now)
                free -= 1
        outcome, told = self._judge(rollout, plan, fleet, now)
        if outcome is Outcome.PASSED and waited_s >= stage.soak_s:
            if stage.approve:
                self._set(rollout, State.WAITS, told, now)
            else:
                self._go_on(rollout, told, now)
        elif outcome is not Outcome.FAILED and waited_s >= max(plan.patience_s, stage.soak_s):
            self._set(rollout, State.PAUSED, f"undecided, {told}", now)

    def _judge(self, rollout: RolloutRow, plan: Plan, fleet: RolloutDevices, now: Instant) -> tuple[Outcome, str]:
        """The verdict on the trials of the stage, in words too; one that failed halts the rollout."""
        verdict = fleet.verdict(rollout.stage, plan.criteria(rollout.stage))
        told = f"stage {rollout.stage + 1}: {verdict.why}"
        if verdict.outcome is Outcome.FAILED:
            self._halt(rollout, State.HALTED, told, now)
        return verdict.outcome, told

    def _switch(self, rollout: RolloutRow, plan: Plan, fleet: RolloutDevices, now: Instant) -> None:
        if not plan.hours or datetime.fromtimestamp(now.wall_s, UTC).hour in plan.hours:
            due = [row for row in fleet.rows if row.state == DeviceState.TRYING or row.state in NOT_BEGUN]
            for row in due[: max(fleet.free(plan), 0)]:
                self._deliver(rollout, row, SWITCH, DeviceState.SENT, now)
        states = Counter(row.state for row in fleet.rows)
        there, failed, newer = (states[one] for one in (DeviceState.THERE, DeviceState.FAILED, DeviceState.NEWER))
        waited_s, soak_s = now.wall_s - rollout.phase_since_s, plan.stages[rollout.stage].soak_s
        answered, unknown = there + failed + newer, fleet.silent_count
        enough = answered + unknown == len(fleet.rows) and answered >= ANSWERED_SHARE_MIN * len(fleet.rows)
        if there and enough and waited_s >= soak_s:
            of_others = f", {newer} have a newer one" if newer else ""
            of_others += f", {unknown} are silent and unknown" if unknown else ""
            told = f"stage {rollout.stage + 1}: {there} devices run it, {failed} failed{of_others}"
            self._go_on(rollout, told, now)
        elif waited_s >= max(plan.patience_s, soak_s):
            counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
            self._set(rollout, State.PAUSED, f"stage {rollout.stage + 1} does not end: {counts}", now)

    def _go_on(self, rollout: RolloutRow, why: str, now: Instant) -> None:
        """From a trial to the switch, from a stage to the next, from the last one to the end."""
        after = replace(rollout, phase_since_s=now.wall_s)
        if rollout.phase == Phase.TRIAL:
            self._set(replace(after, phase=str(Phase.SWITCH)), State.RUNNING, why, now)
        elif rollout.stage < len(stored_plan(rollout.plan).stages) - 1:
            self._set(replace(after, phase=str(Phase.TRIAL), stage=rollout.stage + 1), State.RUNNING, why, now)
        else:
            # somebody approved while devices were under way: the verdict is theirs, and nobody is left behind
            for row in self._store.rows(ROLLOUT_DEVICES).all(rollout.name):
                if row.state in NOT_BEGUN or row.state in (DeviceState.ORDERED, DeviceState.TRYING):
                    self._deliver(rollout, row, SWITCH, DeviceState.SENT, now)
            # the bundle is the fleet's: devices that join get it, and the aggregator serves it
            standing = self._standing(EVERYBODY)
            self._store.put_delivery(replace(standing or _nothing(now), device=BEFORE, done=True))
            order(self._store, _delivery(rollout, now), [], everybody=True, known=list)
            self._set(after, State.DONE, why, now)

    def _follow_late_ones(self, now: Instant) -> None:
        """What devices confirm that were still to switch, or to go back, when their rollout was over."""
        if now.monotonic_s < self._followed_at_s + FOLLOW_INTERVAL_S:
            return
        self._followed_at_s = now.monotonic_s
        for state, over in LATE.items():
            for row in self._store.rows(ROLLOUT_DEVICES).where(state=str(state)):
                rollout = self._store.rows(ROLLOUTS).get(row.rollout)
                if rollout is not None and rollout.state == over:
                    self._heard(rollout, row, now)

    def _heard(self, rollout: RolloutRow, row: RolloutDeviceRow, now: Instant) -> RolloutDeviceRow:
        device = self._store.device(row.device)
        if device is None:
            return row
        said = Said.of(device, self._store.rows(TRIALS).get(row.device), rollout)
        return self._put(row, *said.moved(DeviceState(row.state)), now)

    def _halt(self, rollout: RolloutRow, state: State, why: str, now: Instant) -> None:
        """Who has not switched drops the bundle; who has keeps it, unless all that may have it are to go back."""
        for each in self._store.rows(ROLLOUT_DEVICES).all(rollout.name):
            row = self._heard(rollout, each, now)
            if state is State.ROLLING_BACK and row.state in MAY_SWITCH:
                self._deliver(rollout, row, ROLL_BACK, DeviceState.RETURNING, now)
            elif row.state in UNDER_WAY:
                self._order([row.device], _nothing(now))
                self._put(row, *UNDER_WAY[DeviceState(row.state)], now)
        if state is State.ROLLING_BACK:
            standing = self._standing(EVERYBODY)
            if standing is not None and standing.sha256 == rollout.sha256:
                # devices that join get what these got before; one that did not end never took its place
                before = self._standing(BEFORE) if rollout.state == State.DONE else None
                if before is None or before.sha256 == rollout.sha256:
                    before = _nothing(now)
                self._order([EVERYBODY], before)
                self._store.put_delivery(replace(_nothing(now), device=BEFORE, done=True))
        self._set(rollout, state, why, now)

    def _order(self, devices: list[str], row: DeliveryRow) -> None:
        order(self._store, row, devices, everybody=False, known=list)

    def _standing(self, device: str) -> DeliveryRow | None:
        return next((row for row in self._store.deliveries() if row.device == device), None)

    def _return(self, rollout: RolloutRow, fleet: RolloutDevices, now: Instant) -> None:
        """Everybody goes back to the bundle before, those too that switched while the halt was on its way."""
        for row in fleet.rows:
            said = fleet.said[row.device]
            if said.has and not said.stays and row.state != DeviceState.RETURNING:
                self._deliver(rollout, row, ROLL_BACK, DeviceState.RETURNING, now)
        rows = [row for row in self._store.rows(ROLLOUT_DEVICES).all(rollout.name) if row.device in fleet.said]
        returning = [row for row in rows if row.state == DeviceState.RETURNING]
        if all(fleet.is_gone(row) for row in returning):
            told = [f"{sum(row.state == DeviceState.ROLLED_BACK for row in rows)} devices went back"]
            stay = [row.device for row in rows if fleet.said[row.device].stays]
            told += [f"{len(stay)} cannot: {stay[0]}: {fleet.said[stay[0]].stays}"] if stay else []
            told += [f"{len(returning)} are away and go back when they return"] if returning else []
            served = self._standing(AGGREGATOR)
            if served is not None and served.sha256 == rollout.sha256:
                before = self._standing(EVERYBODY) or _nothing(now)
                self._order([AGGREGATOR], before)
                of_before = f"{before.name} {before.version}" if before.sha256 else "the bundle of its configuration"
                told += [f"the server serves {of_before} again"]
            self._set(rollout, State.ROLLED_BACK, "; ".join(told), now)

    def _deliver(self, rollout: RolloutRow, row: RolloutDeviceRow, mode: str, state: DeviceState, now: Instant) -> None:
        order(self._store, _delivery(rollout, now), [row.device], everybody=False, known=list, mode=mode)
        self._put(row, state, "", now)

    def _put(self, row: RolloutDeviceRow, state: DeviceState, problem: str, now: Instant) -> RolloutDeviceRow:
        if row.state == state and (row.problem == problem or not problem):
            return row
        moved = replace(row, state=str(state), problem=problem[:400], since_s=now.wall_s)
        self._store.rows(ROLLOUT_DEVICES).put(moved)
        return moved

    def _set(self, rollout: RolloutRow, state: State, why: str, now: Instant) -> None:
        """The one place in which a rollout changes; told in an event and in the log."""
        since_s = rollout.state_since_s if rollout.state == state else now.wall_s
        moved = replace(rollout, state=str(state), why=why[:1000], state_since_s=since_s)
        self._store.rows(ROLLOUTS).put(moved)
        at = {"rollout": moved.name, "state": str(state), "stage": moved.stage + 1, "phase": moved.phase}
        detail = canonical_json({**at, "why": why[:600]}).decode()
        self._store.add_event(EventRow(NOBODY, "rollout", detail, now.wall_s), self._events_max)
        warns = state in (State.HALTED, State.PAUSED, State.ROLLING_BACK)
        self._notes.append(Note(f"rollout {moved.name}, stage {moved.stage + 1}: {state}: {why}", warning=warns))


def _nothing(now: Instant) -> DeliveryRow:
    return DeliveryRow("", "", 0, "", "", 0, "", now.wall_s)


def _delivery(rollout: RolloutRow, now: Instant) -> DeliveryRow:
    return DeliveryRow(
        "", rollout.sha256, rollout.size, rollout.bundle, rollout.version, rollout.release, rollout.space, now.wall_s
    )
