"""Rollouts go stage by stage, stop at a bad bundle while hardly anybody has it, and survive what happens between."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.bundle_sender import BEFORE, BundleSender, order
from aggregator.effects import Instant, Note
from aggregator.policy import DeliveryPolicy
from aggregator.registry import delete_group, put_list_group
from aggregator.rollouts import Act, Plan, Rollouts, State, default_plan, read_plan
from aggregator.rollouts.beginning import ask, begin, forecast
from aggregator.rollouts.plan import stored_plan
from aggregator.rollouts.progress import Hearing, Said
from aggregator.rollouts.rollout_devices import RolloutDevices
from aggregator.store import DeliveryRow, DeviceRow, MemoryStore, Store
from aggregator.store.rows import ROLLOUT_DEVICES, ROLLOUTS, TRIALS, RolloutDeviceRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError, StoreError
from headway.maths import PairedLoss
from headway.ports import Outgoing
from headway.wire import AGGREGATOR, Desired, Reported, TrialReport, parse_topic, read_desired

HOUR_S = 3600.0
SHA256 = hashlib.sha256(b"new").hexdigest()
BUNDLE = DeliveryRow("", SHA256, 3, "watch", "2.0.0", 2, "2" * 64, 0.0)


class Shelf:
    def read(self, sha256: str, offset: int, length: int) -> bytes:
        raise StoreError("nobody asks here")


@dataclass
class Device:
    """What a device does with orders. worse: loss of the new bundle on its labels more than the old one's; labels: an
    hour; fails: says that the bundle does not work here; stays: why it cannot go back; tries: it can try bundles."""

    name: str
    worse: float = 0.0
    labels: int = 10
    fails: str = ""
    tries: bool = True
    slow: float = 1.0
    online: bool = True
    stays: str = ""
    release: int = 1
    delivery: str = ""
    order: Desired | None = None
    counter: int = 0
    sums: PairedLoss = field(default_factory=PairedLoss)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def hour(self) -> None:
        order = self.order
        if order is None or not self.online:
            return
        if self.fails and order.mode != "roll-back":
            self.delivery = f"release {order.release} failed here before: {self.fails}"
        elif order.mode == "trial":
            old = self.random.uniform(0, 1, self.labels)
            self.sums += PairedLoss.of(old + self.worse + 0.3 * self.random.normal(size=self.labels), old)
            self.counter += 1
        elif order.mode == "roll-back":
            if self.release == order.release and self.stays:
                self.delivery = f"release {order.release} cannot be rolled back: {self.stays}"
            elif self.release == order.release:
                self.release, self.delivery = 1, "rolled back to release 1: asked to"
        elif order.release > self.release:
            self.release, self.delivery = order.release, ""

    @property
    def reported(self) -> bytes:
        version, space = ("2.0.0", "2" * 64) if self.release == 2 else (str(self.release), "1" * 64)
        return Reported("watch", version, space, "exact", "r", "0", "m", 100, "frozen", "", self.release,
                        self.delivery).encode()  # fmt: skip

    @property
    def trial(self) -> bytes:
        if not self.counter:
            return TrialReport("", 0, "none").encode()
        latencies = {"latency_old_ms": 2.0, "latency_new_ms": 2.0 * self.slow}
        return TrialReport(SHA256, self.counter, "running", self.sums, self.sums, **latencies).encode()


@dataclass
class Fleet:
    """A fleet of such devices, the rollouts and the bundle sender over one store, hour by hour."""

    devices: dict[str, Device]
    store: Store = field(default_factory=MemoryStore)
    now_s: float = 0.0
    notes: list[str] = field(default_factory=list)
    most_busy: int = 0

    def __post_init__(self) -> None:
        self.restart()
        self.hear()

    def restart(self, serving: tuple[str, str] = ("", "")) -> None:
        with self.store.transaction():
            self.rollouts = Rollouts(self.store, lambda device, now: None, 1000)
            policy = DeliveryPolicy(bytes_per_s=1e9, devices_per_s=10_000.0)
            self.sender = BundleSender("plant", self.store, Shelf(), policy, serving)

    @property
    def instant(self) -> Instant:
        return Instant(self.now_s, 1_800_000_000.0 + self.now_s)

    def hear(self) -> None:
        with self.store.transaction():
            for device in self.devices.values():
                if device.online:
                    seen = self.instant.wall_s
                    self.store.put_device(DeviceRow(device.name, seen - 10 * HOUR_S, seen, reported=device.reported))
                    if device.tries:
                        self.rollouts.on_trial(device.name, device.trial, self.instant)

    def hour(self, restart: bool = False) -> None:
        self.now_s += HOUR_S
        with self.store.transaction():
            effects = [*self.rollouts.tick(self.instant), *self.sender.tick(self.instant)]
        if restart:
            self.restart()
            self.sender.again()
        self.now_s += 60.0
        with self.store.transaction():
            effects += self.sender.tick(self.instant)
            states = Counter(row.state for row in self.store.rows(ROLLOUT_DEVICES).all())
        self.most_busy = max(self.most_busy, states["ordered"] + states["sent"])
        for effect in effects:
            if isinstance(effect, Outgoing):
                device = self.devices[parse_topic(effect.topic).device]
                device.order = read_desired(effect.payload)
            elif isinstance(effect, Note):
                self.notes.append(effect.text)
        for one in self.devices.values():
            one.hour()
        self.hear()

    def begin(self, plan: Plan, name: str = "two") -> None:
        with self.store.transaction():
            begin(self.store, name, plan, BUNDLE, self.instant.wall_s)

    def ask(self, act: Act, remark: str = "") -> None:
        with self.store.transaction():
            ask(self.store, "two", act, "ada", remark, self.instant.wall_s)

    def until(self, *states: State, hours: int = 400, restarts: bool = False) -> str:
        """The state it came to."""
        for number in range(hours):
            self.hour(restart=restarts and number % 3 == 0)
            if self.state in states:
                return self.state
        pytest.fail(f"after {hours} hours it is {self.state}: {self.why}")

    @property
    def state(self) -> str:
        with self.store.transaction():
            row = self.store.rows(ROLLOUTS).get("two")
        assert row is not None
        return row.state

    @property
    def why(self) -> str:
        with self.store.transaction():
            row = self.store.rows(ROLLOUTS).get("two")
        assert row is not None
        return row.why

    def states(self) -> Counter[str]:
        """How many devices of the rollout are in each state."""
        with self.store.transaction():
            return Counter(row.state for row in self.store.rows(ROLLOUT_DEVICES).all("two"))

    def rows(self) -> list[RolloutDeviceRow]:
        with self.store.transaction():
            return self.store.rows(ROLLOUT_DEVICES).all("two")

    @property
    def switched(self) -> list[str]:
        return [device.name for device in self.devices.values() if device.release == 2]


def fleet(count: int, **changes: object) -> Fleet:
    return Fleet({f"d{at}": Device(f"d{at}", random=np.random.default_rng(at), **changes) for at in range(count)})  # type: ignore[arg-type]


LONG = default_plan()
PLAN = replace(LONG, stages=tuple(replace(stage, soak_s=6 * HOUR_S) for stage in LONG.stages), patience_s=40 * HOUR_S)


def test_a_good_bundle_goes_through_every_stage_to_every_device() -> None:
    good = fleet(200, worse=-0.05)
    good.begin(PLAN)
    shares = set()
    while good.state != State.DONE:
        good.hour()
        shares.add(len(good.switched))
        assert good.now_s < 100 * 24 * HOUR_S
    assert {0, 10, 50, 200} <= shares
    assert good.most_busy <= PLAN.max_at_once
    assert sum("passed" in note or "paired loss" in note for note in good.notes) >= 3
    # who joins later gets it, too
    good.devices["new"] = Device("new")
    good.hear()
    with good.store.transaction():
        good.sender.seen("new")
    good.hour()
    assert good.devices["new"].release == 2


@pytest.mark.parametrize("worse", [0.2, 0.5, 1.5])
def test_a_bad_bundle_is_stopped_before_anybody_has_switched(worse: float) -> None:
    bad = fleet(200, worse=worse)
    bad.begin(PLAN)
    assert bad.until(State.HALTED) == State.HALTED
    assert bad.switched == []
    assert "paired loss" in bad.why
    touched = [name for name, device in bad.devices.items() if device.counter]
    assert len(touched) <= 0.05 * 200
    bad.hour()
    assert all(device.order is None for device in bad.devices.values())


def test_a_bundle_that_does_not_work_is_stopped_in_the_first_stage() -> None:
    broken = fleet(200)
    for device in broken.devices.values():
        device.fails = "cannot be opened"
    broken.begin(PLAN)
    broken.until(State.HALTED)
    assert "cannot be opened" in broken.why
    assert broken.switched == []


def test_a_bundle_that_fails_later_on_stops_where_it_is_and_goes_back_everywhere() -> None:
    later = fleet(200, worse=-0.1)
    later.begin(PLAN)
    while len(later.switched) < 30:
        later.hour()
    for device in later.devices.values():
        if device.release == 1:
            device.fails = "3 starts came to nothing"
    later.until(State.HALTED)
    there = len(later.switched)
    assert 30 <= there <= 50
    later.hour()
    assert len(later.switched) == there
    # one is away while all are sent back
    away = later.devices[later.switched[0]]
    away.online = False
    later.ask(Act.ROLL_BACK, "seen on the line")
    for _ in range(5):
        later.hour()
    assert later.switched == [away.name]
    # the fleet does not wait for it: another rollout may begin
    assert later.state == State.ROLLED_BACK
    assert "1 are away and go back when they return" in later.why
    assert later.states()["returning"] == 1
    away.online = True
    for _ in range(2):
        later.hour()
    assert later.switched == []
    assert later.states()["returning"] == 0


def test_a_device_that_cannot_go_back_is_shown_as_it_is_and_holds_up_nobody() -> None:
    some = fleet(20, worse=-0.1)
    some.begin(PLAN)
    some.until(State.DONE)
    some.devices["d3"].stays = "the bundle before it is no longer here"
    some.ask(Act.ROLL_BACK)
    some.until(State.ROLLED_BACK)
    assert some.switched == ["d3"]
    assert "1 cannot: d3: release 2 cannot be rolled back: the bundle before it is no longer here" in some.why
    assert some.states() == {"rolled-back": 19, "failed": 1}


def test_whoever_was_told_to_switch_when_it_was_halted_goes_back_too() -> None:
    some = fleet(20, worse=-0.1)
    some.begin(PLAN)
    while not some.states()["trying"]:
        some.hour()
    device = some.devices[next(row.device for row in some.rows() if row.state == "trying")]
    # it switches, and nobody hears of it before the halt
    device.online = False
    while not some.states()["there"]:
        some.hour()
    device.release = 2
    some.ask(Act.HALT)
    some.hour()
    assert some.state == State.HALTED
    assert next(row.state for row in some.rows() if row.device == device.name) == "withdrawn"
    some.ask(Act.ROLL_BACK)
    for _ in range(3):
        some.hour()
    device.online = True
    for _ in range(3):
        some.hour()
    assert some.switched == []
    assert not {"withdrawn", "sent", "returning"} & set(some.states())


def test_after_a_roll_back_nobody_who_joins_gets_the_bundle_and_a_roll_back_can_be_halted() -> None:
    some = fleet(20, worse=-0.1)
    some.begin(PLAN)
    some.until(State.DONE)
    some.devices["d3"].online = False
    some.ask(Act.ROLL_BACK)
    some.hour()
    assert some.state == State.ROLLING_BACK
    some.ask(Act.HALT)
    some.hour()
    assert some.state == State.HALTED
    assert some.states() == {"rolled-back": 19, "there": 1}
    with some.store.transaction():
        standing = {row.device: row.sha256 for row in some.store.deliveries()}
    assert standing[""] == standing["d3"] == ""


@pytest.mark.parametrize("before", ["", "b" * 64])
def test_after_a_roll_back_the_server_serves_what_it_did_before(before: str) -> None:
    some = fleet(20, worse=-0.1)
    if before:
        old = DeliveryRow("", before, 3, "watch", "1.0.0", 1, "1" * 64, 0.0)
        with some.store.transaction():
            order(some.store, old, [], everybody=True, known=list)
    some.begin(PLAN)
    some.until(State.DONE)
    some.restart(serving=(SHA256, "2" * 64))
    some.ask(Act.ROLL_BACK)
    some.until(State.ROLLED_BACK)
    some.hour()
    assert some.sender.superseded, "and back"
    assert some.why.endswith(
        f"the server serves {'watch 1.0.0' if before else 'the bundle of its configuration'} again"
    )
    with some.store.transaction():
        standing = {row.device: row.sha256 for row in some.store.deliveries()}
    assert standing[""] == standing[AGGREGATOR] == before
    some.restart(serving=(before or "a" * 64, "1" * 64))
    some.hour()
    assert not some.sender.superseded, "once"


@pytest.mark.parametrize("done", [False, True])
def test_what_stood_before_another_rollout_does_not_come_back(done: bool) -> None:
    """Where an operator ordered the bundle for all, too: what is kept is of a rollout before, or the bundle itself."""
    some = fleet(20, worse=-0.1)
    some.begin(PLAN)
    if done:
        some.until(State.DONE)
    with some.store.transaction():
        some.store.put_delivery(replace(BUNDLE, device=BEFORE, sha256=SHA256 if done else "b" * 64, done=True))
        order(some.store, BUNDLE, [], everybody=True, known=list)
    some.ask(Act.ROLL_BACK)
    some.until(State.ROLLED_BACK)
    with some.store.transaction():
        assert {row.device: row.sha256 for row in some.store.deliveries()}[""] == ""


def test_what_is_delivered_after_a_roll_back_is_meant_to_be_switched_to() -> None:
    some = fleet(20, worse=-0.1)
    some.begin(PLAN)
    some.until(State.DONE)
    some.ask(Act.ROLL_BACK)
    some.until(State.ROLLED_BACK)
    assert some.devices["d3"].order is not None
    assert some.devices["d3"].order.mode == "roll-back"
    better = replace(BUNDLE, sha256=hashlib.sha256(b"better").hexdigest(), release=3)
    with some.store.transaction():
        order(some.store, better, ["d3"], everybody=False, known=list)
    for _ in range(2):
        some.hour()
    assert some.devices["d3"].release == 3


def test_a_device_with_a_newer_bundle_keeps_it_and_another_bundle_of_the_same_release_is_no_success() -> None:
    mixed = fleet(40, worse=-0.05)
    for name in ("d1", "d2", "d3", "d4", "d5", "d6", "d7"):
        mixed.devices[name].release = 3
    mixed.begin(PLAN)
    mixed.until(State.DONE)
    assert mixed.states() == {"there": 33, "newer": 7}
    same = fleet(40)
    for device in same.devices.values():
        device.delivery, device.tries = "release 2 is not newer than 2; convert with a higher --release", False
    same.begin(PLAN)
    with same.store.transaction():
        for row in same.store.devices():
            other = Reported("watch", "1.9", "1" * 64, "exact", "r", "0", "m", 100, "frozen", "", 2, "")
            same.store.put_device(replace(row, reported=other.encode()))
        same.rollouts.tick(same.instant)
    assert same.states()["there"] == 0


@pytest.mark.parametrize(("size", "refused"), [(BUNDLE.size, True), (BUNDLE.size + 1, False)])
def test_what_a_device_said_of_the_bundle_before_is_not_said_of_this_one(size: int, refused: bool) -> None:
    some = fleet(1)
    some.devices["d0"].delivery = f"bundle has {size} bytes, bundle_bytes_max is 1"
    some.hear()
    some.begin(PLAN)
    with some.store.transaction():
        device, rollout = some.store.device("d0"), some.store.rows(ROLLOUTS).get("two")
        assert device is not None
        assert rollout is not None
        assert bool(Said.of(device, None, rollout).refused) is refused


def test_a_stage_may_be_a_group_and_a_group_that_goes_pauses_it() -> None:
    grouped = fleet(100, worse=-0.05)
    canary, *rest = PLAN.stages
    plan = replace(PLAN, stages=(replace(canary, share=0.0, group="canary"), *rest))
    with grouped.store.transaction(), pytest.raises(ConfigError, match="there is no group 'canary'"):
        begin(grouped.store, "two", plan, BUNDLE, 0.0)
    with grouped.store.transaction():
        put_list_group(grouped.store, "canary", ("d7", "d8", "d9", "d10"), (), 0.0)
    assert stored_plan(plan.encode()) == plan
    grouped.begin(plan)
    while not grouped.switched:
        grouped.hour()
    assert {name for name, device in grouped.devices.items() if device.counter} == {"d7", "d8", "d9", "d10"}
    grouped.until(State.DONE)
    assert len(grouped.switched) == 100

    gone = fleet(100, worse=-0.05)
    with gone.store.transaction():
        put_list_group(gone.store, "canary", ("d7",), (), 0.0)
    gone.begin(plan)
    with gone.store.transaction():
        delete_group(gone.store, "canary")
    gone.until(State.PAUSED)
    assert "there is no group 'canary'" in gone.why


def test_without_labels_a_stage_never_counts_as_passed() -> None:
    silent = fleet(60, labels=0)
    silent.begin(PLAN)
    assert silent.until(State.PAUSED) == State.PAUSED
    assert "undecided" in silent.why
    assert "windows of 3 devices are needed" in silent.why
    assert silent.switched == []
    silent.ask(Act.APPROVE, "checked by hand")
    silent.until(State.PAUSED, State.RUNNING)
    silent.hour()
    assert len(silent.switched) == 3


def test_devices_that_cannot_try_a_bundle_switch_with_their_stage_and_decide_nothing() -> None:
    mixed = fleet(100, worse=-0.05)
    for device in list(mixed.devices.values())[::2]:
        device.tries = False
    mixed = Fleet(mixed.devices)
    mixed.begin(PLAN)
    mixed.until(State.DONE)
    assert len(mixed.switched) == 100
    assert not any(device.counter for device in mixed.devices.values() if not device.tries)


@pytest.mark.parametrize("count", [3, 4, 7])
def test_a_fleet_of_a_few_devices_goes_through_all_stages_too(count: int) -> None:
    few = fleet(count, worse=-0.1)
    few.begin(PLAN)
    few.until(State.DONE)
    assert len(few.switched) == count


def test_a_slow_bundle_is_stopped() -> None:
    slow = fleet(100, worse=-0.2, slow=5.0)
    slow.begin(PLAN)
    slow.until(State.HALTED)
    assert "5.00 times as long" in slow.why


def test_it_waits_for_approval_and_for_the_hours_of_the_window() -> None:
    plan = replace(PLAN, stages=tuple(replace(s, approve=True) for s in PLAN.stages[:1]) + PLAN.stages[1:], hours=(3,))
    waiting = fleet(100, worse=-0.05)
    waiting.begin(plan)
    waiting.until(State.WAITS)
    for _ in range(30):
        waiting.hour()
    assert waiting.switched == []
    waiting.ask(Act.APPROVE)
    hours = []
    for _ in range(60):
        before = len(waiting.switched)
        waiting.hour()
        if len(waiting.switched) > before:
            hours.append(int((waiting.instant.wall_s - 60.0) // HOUR_S) % 24)
    assert waiting.switched
    assert set(hours) == {3}


def test_whoever_was_under_way_when_a_person_ended_it_gets_the_bundle_too_and_is_shown_as_they_are() -> None:
    fleet = Fleet({f"d{at}": Device(f"d{at}", labels=0) for at in range(10)})
    fleet.devices["d3"].online = False
    fleet.begin(replace(PLAN, max_at_once=2, stages=(replace(PLAN.stages[-1], soak_s=0.0),)))
    fleet.hour()
    fleet.ask(Act.APPROVE)
    fleet.ask(Act.APPROVE)
    fleet.until(State.DONE, hours=3)
    for _ in range(3):
        fleet.hour()
    assert sorted(fleet.switched) == sorted(set(fleet.devices) - {"d3"})
    assert fleet.states() == {"there": 9, "sent": 1}
    fleet.devices["d3"].online = True
    for _ in range(3):
        fleet.hour()
    assert fleet.states() == {"there": 10}


def test_while_it_waits_for_approval_failures_and_labels_still_stop_it() -> None:
    plan = replace(PLAN, stages=tuple(replace(stage, approve=True) for stage in PLAN.stages))
    for fault in ("no memory for it", ""):
        waiting = fleet(100, worse=-0.05)
        waiting.begin(plan)
        waiting.until(State.WAITS)
        for device in [device for device in waiting.devices.values() if device.order is not None]:
            device.fails, device.worse = fault, 0.0 if fault else 1.0
        assert waiting.until(State.HALTED) == State.HALTED
        assert fault in waiting.why
        assert waiting.switched == []


def test_only_what_is_new_is_read_and_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    of = Said.of
    monkeypatch.setattr(Said, "of", lambda device, row, rollout: read.append(device.device) or of(device, row, rollout))
    fleet, hearing = Fleet({name: Device(name) for name in ("a", "b")}), Hearing()
    fleet.begin(PLAN)
    (rollout,) = fleet.store.rows(ROLLOUTS).all()

    def heard(**reported: object) -> dict[str, Said]:
        devices = {row.device: row for row in fleet.store.devices()}
        devices["a"] = replace(
            devices["a"], reported=replace(Reported.decode(devices["a"].reported), **reported).encode()
        )
        return hearing.of(rollout, devices, {})

    assert heard() == heard()
    assert read == ["a", "b"]
    assert heard(release=rollout.release + 1)["a"].newer
    assert read == ["a", "b", "a"]
    hearing.forget_but([])
    assert not heard()["a"].newer
    assert read == ["a", "b", "a", "a", "b"]


def test_a_device_that_says_nothing_is_unknown_and_holds_up_nobody_once_enough_answered() -> None:
    quiet = fleet(200, worse=-0.05)
    quiet.begin(PLAN)
    for number in range(0, 200, 25):
        quiet.devices[f"d{number}"].online = False
    quiet.until(State.DONE)
    assert len(quiet.switched) == 192
    assert "192 devices run it, 0 failed, 8 are silent and unknown" in quiet.why
    with quiet.store.transaction():
        rows = quiet.store.rows(ROLLOUT_DEVICES).all("two")
    assert {row.state for row in rows if not quiet.devices[row.device].online} <= {"waiting", "ordered", "sent"}


def test_where_too_few_answer_the_stage_waits_and_pauses() -> None:
    quiet = fleet(200, worse=-0.05)
    quiet.begin(PLAN)
    for number in range(60):
        quiet.devices[f"d{number}"].online = False
    quiet.until(State.PAUSED)
    assert "does not end" in quiet.why or "undecided" in quiet.why


def test_a_device_that_fell_silent_while_it_switched_holds_its_stage() -> None:
    lost = fleet(200, worse=-0.05)
    lost.begin(PLAN)
    while not lost.switched:
        lost.hour()
    device = lost.devices[lost.switched[0]]
    device.online, device.release = False, 1
    with lost.store.transaction():
        row = lost.store.device(device.name)
        assert row is not None
        lost.store.put_device(replace(row, reported=device.reported))
    lost.until(State.PAUSED)
    assert "does not end" in lost.why


def test_devices_that_are_gone_hold_no_place_of_those_that_may_switch_at_once() -> None:
    plan = replace(PLAN, max_at_once=4, stages=PLAN.stages[-1:])
    gone = fleet(60, worse=-0.05)
    gone.begin(plan)
    with gone.store.transaction():
        gone.rollouts.tick(gone.instant)
        ordered = {row.device for row in gone.store.rows(ROLLOUT_DEVICES).all() if row.state == "ordered"}
    assert len(ordered) == 4
    for name in ordered:  # as many as may load at once, and they were told to
        gone.devices[name].online = False
    gone.until(State.DONE)
    assert gone.most_busy <= 2 * plan.max_at_once
    assert {*gone.devices} - {*gone.switched} == ordered
    assert "56 devices run it, 0 failed, 4 are silent and unknown" in gone.why
    with gone.store.transaction():
        states = {row.state for row in gone.store.rows(ROLLOUT_DEVICES).all() if row.device in ordered}
    assert not states & {"there", "failed"}, "what became of them stays unknown"


def test_a_device_that_comes_back_holds_its_place_again() -> None:
    plan = replace(PLAN, max_at_once=2)
    rows = [RolloutDeviceRow("two", name, 0, "sent", "", 100.0) for name in ("a", "b")]
    at_work = RolloutDevices(rows, {}, set(), gone={"a"}, gone_since_s=200.0)
    assert at_work.free(plan) == 1
    assert replace(at_work, gone=set()).free(plan) == 0
    assert replace(at_work, gone_since_s=50.0).free(plan) == 0, "it was told to less than that ago"


def test_paused_it_does_nothing_and_resumed_it_goes_on() -> None:
    paused = fleet(100, worse=-0.05)
    paused.begin(PLAN)
    paused.hour()
    paused.ask(Act.PAUSE, "lunch")
    paused.hour()
    for _ in range(48):
        paused.hour()
    assert (paused.state, paused.switched) == (State.PAUSED, [])
    assert "lunch" in paused.why
    paused.ask(Act.RESUME)
    paused.until(State.DONE)


def test_a_service_that_is_killed_all_the_time_comes_to_the_same_end(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
    killed = Fleet(fleet(40, worse=-0.05).devices, store)
    killed.begin(PLAN)
    killed.until(State.DONE, restarts=True)
    assert len(killed.switched) == 40
    store.close()


def test_an_older_trial_report_does_not_replace_a_newer_one() -> None:
    one = fleet(1)
    newer, older = (TrialReport(SHA256, counter, "running") for counter in (7, 6))
    with one.store.transaction():
        for report in (newer, older):
            one.rollouts.on_trial("d0", report.encode(), one.instant)
        kept = one.store.rows(TRIALS).get("d0")
    assert kept is not None
    assert TrialReport.decode(kept.payload).counter == 7


def test_a_rollout_that_is_no_news_to_any_device_is_refused_before_anything_is_written() -> None:
    some = fleet(10, release=2)
    with some.store.transaction():
        with pytest.raises(ConfigError, match=r"release 2 is no news: every device runs release 2 .* --release 3"):
            begin(some.store, "two", PLAN, BUNDLE, 0.0)
        with pytest.raises(ConfigError, match="no news"):
            forecast(some.store, "two", PLAN, some.instant.wall_s, BUNDLE.release)
        with pytest.raises(ConfigError, match="no device 'nobody'"):
            forecast(some.store, "two", default_plan(["nobody"]), some.instant.wall_s)
    some.devices["d1"].release = 1
    some.hear()
    with some.store.transaction():
        stages = forecast(some.store, "two", PLAN, some.instant.wall_s, BUNDLE.release)
    assert sum(stage.tries for stage in stages) == 1


def test_a_stage_has_bounds_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(
        "margin = 0.1\n[[stages]]\nshare = 0.1\nmargin = 0.5\nerrors = 1\nfailures_share_max = 0.0\n"
        "[[stages]]\nshare = 1.0\nlatency_ratio_max = 3"
    )
    plan = read_plan(tmp_path / "plan.toml")
    assert stored_plan(plan.encode()) == plan
    assert [(plan.criteria(at).margin, plan.criteria(at).errors) for at in (0, 1)] == [(0.5, 1.0), (0.1, 2.0)]
    bounds = [(plan.in_stage(at).failures_share_max, plan.in_stage(at).latency_ratio_max) for at in (0, 1)]
    assert bounds == [(0.0, 2.0), (0.1, 3.0)]
    worse = fleet(60, worse=0.3, labels=50)
    worse.begin(replace(plan, stages=tuple(replace(stage, soak_s=HOUR_S) for stage in plan.stages)))
    worse.until(State.HALTED)
    assert "stage 2" in worse.why, "the first stage takes what is worse by up to 0.5"


def test_a_forecast_names_devices_labels_and_time() -> None:
    some = fleet(100)
    with some.store.transaction():
        stages = forecast(some.store, "two", PLAN, some.instant.wall_s)
    assert [len(stage.devices) for stage in stages] == [5, 20, 75]
    assert len({device for stage in stages for device in stage.devices}) == 100
    # 100 labels in ten hours each
    assert stages[0].labels_per_hour == pytest.approx(50.0)
    assert stages[0].hours == pytest.approx(1.0)


def test_begin_and_acts_refuse_what_makes_no_sense() -> None:
    one = fleet(10)
    with one.store.transaction(), pytest.raises(ConfigError, match="no device 'nobody'"):
        begin(one.store, "two", default_plan(["nobody"]), BUNDLE, 0.0)
    one.begin(PLAN)
    with one.store.transaction(), pytest.raises(ConfigError, match="rollout 'two' is running"):
        begin(one.store, "three", PLAN, BUNDLE, 0.0)
    with (
        one.store.transaction(),
        pytest.raises(ConfigError, match="takes no resume; it takes pause, approve, halt, roll-back"),
    ):
        ask(one.store, "two", Act.RESUME, "ada", "", 0.0)
    with one.store.transaction(), pytest.raises(ConfigError, match="no rollout 'four'; known: two"):
        ask(one.store, "four", Act.HALT, "ada", "", 0.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no stage"),
        ("[[stages]]\n", "either devices or a share"),
        ("[[stages]]\nshare = 0.5\ndevices = ['a']\n", "either devices or a share"),
        ("[[stages]]\nshare = 0.5\n[[stages]]\nshare = 0.1\n", "must grow, they are 0.5, 0.1"),
        ("[[stages]]\nshare = 1.5\n", "from 0 to 1"),
        ("[[stages]]\nshare = 0.5\nsoak = 3\n", "unknown key"),
        ("marge = 0.1\n[[stages]]\nshare = 0.5\n", "unknown key"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        read_plan(file)


def test_a_plan_is_stored_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        "margin = 0.02\nhours = [2, 3]\n[[stages]]\ndevices = ['a']\napprove = true\n[[stages]]\nshare = 1\n"
    )
    assert stored_plan(read_plan(file).encode()) == read_plan(file)


def test_the_plan_on_the_page_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "roll-out.md").read_text()
    file = tmp_path / "plan.toml"
    file.write_text(page.partition("```toml\n")[2].partition("```")[0])
    plan = read_plan(file)
    stages = [len(stage.devices) or stage.group or stage.share for stage in plan.stages]
    assert stages == [3, "pilot-plant", 0.25, 1.0]
    assert plan.hours == (2, 3, 4)
