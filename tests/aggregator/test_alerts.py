"""Alerts open, are told once, and close again: by the rules, through restarts, silences and acknowledgements."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from aggregator.alerts import (
    BUILT_IN,
    Alerts,
    Change,
    Severity,
    State,
    Watches,
    acknowledge,
    add_silence,
    end_silence,
    put_rule,
    remove_rule,
    switch_rule,
)
from aggregator.alerts.channels import AlertMessage
from aggregator.alerts.delivery import Delivery, begin_channels
from aggregator.clearings import Clearings
from aggregator.effects import Effect, Instant, Note
from aggregator.policy import AlertPolicy
from aggregator.registry import put_filter_group
from aggregator.registry.groups import delete_group
from aggregator.store import MemoryStore, RegistryRow, Store
from aggregator.store.rows import (
    ALERT_EVENTS,
    ALERTS,
    CERTIFICATES,
    QUARANTINED,
    ROLLOUTS,
    AlertRow,
    AlertRuleRow,
    CertificateRow,
    QuarantineRow,
    RolloutRow,
)
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError, TransportError
from headway.ports import Outgoing, SystemClock
from headway.wire import alert_topic
from testbed.postgresql import Postgresql

DAY_S = 86_400.0
HOSTILE = "\x1b[2Jgone\u202e\nforged: line"


@dataclass
class Watched:
    """A fleet's alerts over a store, ten seconds at a time."""

    store: Store
    policy: AlertPolicy = field(default_factory=AlertPolicy)
    now_s: float = 0.0
    shift_s: float = 0.0
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        with self.store.transaction():
            self.clearings = Clearings("plant", self.store)
            self.alerts = Alerts("plant", self.store, self.policy, self.clearings)

    @property
    def wall_s(self) -> float:
        return 1_800_000_000.0 + self.now_s + self.shift_s

    def device(self, name: str = "pump-1", **columns: object) -> None:
        with self.store.transaction():
            known = self.store.registry.get(name) or RegistryRow(name, self.wall_s, self.wall_s)
            self.store.registry.put([replace(known, last_seen_s=self.wall_s, **columns)])  # type: ignore[arg-type]

    def rule(self, condition: str, name: str = "mine", for_s: float = 0.0, watches: Watches = Watches.DEVICES) -> None:
        with self.store.transaction():
            put_rule(
                self.store, AlertRuleRow(name, str(watches), condition, str(Severity.WARNING), for_s, True, self.wall_s)
            )

    def wait(self, seconds: float = 10.0, steps_s: float = 10.0) -> None:
        for _ in range(max(round(seconds / steps_s), 1)):
            self.now_s += steps_s
            with self.store.transaction():
                self.effects += self.alerts.tick(Instant(self.now_s, self.wall_s))

    def connect(self, ahead_s: float = 0.0) -> None:
        with self.store.transaction():
            self.alerts.connected(Instant(self.now_s, self.wall_s + ahead_s))

    def open(self) -> list[tuple[str, str]]:
        with self.store.transaction():
            return [(row.rule, row.subject) for row in self.store.rows(ALERTS).where(state=str(State.OPEN))]

    def alert(self, number: int = 1) -> AlertRow:
        with self.store.transaction():
            row = self.store.rows(ALERTS).get(number)
        assert row is not None
        return row

    def events(self) -> list[tuple[str, str, str]]:
        with self.store.transaction():
            rows = self.store.rows(ALERT_EVENTS).all()
        assert [row.number for row in rows] == list(range(1, len(rows) + 1))
        assert len({row.id for row in rows}) == len(rows)
        told = [(row.change, json.loads(row.body)) for row in rows]
        return [(change, body["rule"], body["subject"]) for change, body in told]


@pytest.fixture(params=["memory", "sqlite"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Watched]:
    if request.param == "memory":
        yield Watched(MemoryStore())
    else:
        store = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
        yield Watched(store)
        store.close()


def test_an_alert_opens_and_closes_with_its_condition_and_is_told_once_each(watched: Watched) -> None:
    watched.device("pump-1")
    watched.device("pump-2")
    watched.rule("labels > 50")
    watched.wait(60)
    assert watched.open() == []
    watched.device("pump-2", labels=51)
    watched.wait(60)
    watched.restart()
    watched.wait(60)
    assert watched.open() == [("mine", "pump-2")]
    assert watched.alert().summary == "labels 51"
    watched.device("pump-2", labels=3)
    watched.wait(60)
    assert watched.open() == []
    assert watched.events() == [("opened", "mine", "pump-2"), ("closed", "mine", "pump-2")]
    # what comes back is another alert
    watched.device("pump-2", labels=60)
    watched.wait()
    assert watched.alert(2).state == State.OPEN
    notes = [effect.text for effect in watched.effects if isinstance(effect, Note)]
    assert notes[0] == "alert 1 opened: warning mine: pump-2: labels 51"


def test_alerts_are_the_same_on_postgresql(postgresql: Postgresql) -> None:
    store = SqlStore(postgresql.new_database())
    test_an_alert_opens_and_closes_with_its_condition_and_is_told_once_each(Watched(store))
    with store.transaction():
        assert store.rows(ALERTS).count() == 2
    store.close()


def test_a_condition_must_hold_for_as_long_as_the_rule_asks_and_be_over_for_as_long(watched: Watched) -> None:
    watched.device(labels=60)
    watched.rule("labels > 50", for_s=100.0)
    watched.wait(90)
    watched.device(labels=10)
    watched.wait()
    watched.device(labels=60)
    watched.wait(100)
    assert watched.events() == []
    watched.restart()  # in the middle of the wait
    watched.wait(10)
    assert watched.open() == [("mine", "pump-1")]
    # to and fro is one alert
    for labels in (10, 60, 10, 60, 10, 60):
        watched.device(labels=labels)
        watched.wait(50)
    assert watched.events() == [("opened", "mine", "pump-1")]
    watched.device(labels=10)
    watched.wait(110)
    assert watched.events()[1:] == [("closed", "mine", "pump-1")]


@pytest.mark.parametrize(
    ("rule", "columns", "words"),
    [
        ("below-frozen", {"accuracy_gain": -0.031, "scored": 120}, "accuracy_gain -3.1 %; scored 120"),
        ("drift", {"drift_s": 1_799_999_990.0}, "since_drift"),
        ("refused", {"refused_s": 1_799_999_990.0, "refused_problem": HOSTILE}, r"\x1b[2Jgone\u202e\nforged: line"),
        ("disk", {"disk_free_bytes": 40_000_000}, "disk_free 40 MB"),
        ("disk", {"health": "degraded", "problem": HOSTILE}, r"health degraded; problem: \x1b[2Jgone"),
    ],
)
def test_what_a_built_in_rule_finds_and_says(rule: str, columns: dict[str, object], words: str) -> None:
    watched = Watched(MemoryStore())
    watched.device("well")
    watched.device("ill", **columns)
    watched.wait(BUILT_IN[rule].for_s + 20)
    assert watched.open() == [(rule, "ill")]
    assert words in watched.alert().summary
    assert watched.alert().summary.isprintable()


@pytest.mark.parametrize("restarted", [True, False])
def test_after_an_outage_of_ours_nobody_is_called_silent_before_they_had_time_to_speak(
    watched: Watched, restarted: bool
) -> None:
    watched.wait()
    for name in ("speaks-again", "stays-silent"):
        watched.device(name)
    if restarted:  # the machine was off for two days
        watched.now_s += 2 * DAY_S
        watched.restart()
    watched.alerts.disconnected()
    watched.wait(2 * DAY_S, steps_s=3600.0)
    assert watched.open() == []
    watched.connect()
    watched.wait(3600.0, steps_s=1800.0)
    watched.device("speaks-again")
    # neither a broker that flaps, nor a restart, ends the waiting or begins it anew
    watched.connect()
    watched.restart()
    watched.connect()
    watched.wait(3590.0, steps_s=3590.0)
    assert watched.open() == []
    watched.wait()
    assert watched.open() == [("device-silent", "stays-silent")]


@pytest.mark.parametrize(
    "condition",
    ["silent_for > 2h or labels > 5", "not (silent_for < 2h and labels <= 5)", "silent_for >= 0 and labels > 5"],
)
def test_after_an_outage_a_rule_still_finds_whom_silence_says_nothing_of(watched: Watched, condition: str) -> None:
    watched.device("silent")
    watched.device("busy", labels=6)
    watched.rule(condition)
    watched.wait()
    watched.alerts.disconnected()
    watched.now_s += 3 * 3600.0
    watched.connect()
    watched.wait()
    assert watched.open() == [("mine", "busy")]


def test_a_fleet_that_is_silent_altogether_is_told_of_also_where_the_service_starts_again_and_again(
    watched: Watched,
) -> None:
    watched.device("pump-1")
    watched.wait(60.0)
    for _ in range(8):
        watched.alerts.disconnected()
        watched.now_s += 20
        watched.connect()
        watched.wait(460.0)
        watched.now_s += 20
        watched.restart()
        watched.connect()
        watched.wait(460.0)
    assert watched.open() == [("device-silent", "pump-1")]


def test_a_short_outage_delays_nothing_and_a_clock_set_back_does_not_either(watched: Watched) -> None:
    watched.device("silent")
    watched.wait(7100.0, steps_s=3550.0)
    watched.device("speaks")
    watched.now_s += 10
    watched.connect()
    watched.wait(100.0)
    assert watched.open() == [("device-silent", "silent")]
    watched.device("another")
    watched.connect(ahead_s=30 * DAY_S)
    watched.wait(7300.0, steps_s=3650.0)
    assert ("device-silent", "another") in watched.open()


def test_silent_devices_quarantine_certificates_and_rollouts_have_alerts(watched: Watched) -> None:
    watched.device("silent")
    watched.wait(7300.0, steps_s=3650.0)
    watched.device("pump-1")
    assert watched.open() == [("device-silent", "silent")]
    with watched.store.transaction():
        watched.store.rows(QUARANTINED).put(QuarantineRow("pump-1", 7, "its sums cannot be", watched.wall_s))
        # the newest certificate counts; one of a device that is not in the fleet, and a revoked one, do not
        for serial, device, days, revoked_s in (
            ("1", "pump-1", 5, 0.0), ("2", "pump-1", 200, 9.0), ("3", "silent", 5, 0.0), ("4", "silent", 300, 0.0),
            ("5", "gone", 5, 0.0),
        ):  # fmt: skip
            expires_s = watched.wall_s + days * DAY_S
            row = CertificateRow(serial, device, "", "", "", b"", watched.wall_s, expires_s, revoked_s)
            watched.store.rows(CERTIFICATES).put(row)
        for number, name, state in ((1, "old", "halted"), (2, "new", "paused")):
            plan = (name, number, "{}", "", 0, "watch", "2", 2, "", state, 0, "trial", "undecided", 0.0, 0.0, 0.0)
            watched.store.rows(ROLLOUTS).put(RolloutRow(*plan))
    watched.wait()
    assert sorted(watched.open()) == [
        ("certificate-expires", "pump-1"),
        ("device-silent", "silent"),
        ("quarantined", "pump-1"),
        ("rollout-waits", "new"),
    ]
    with watched.store.transaction():
        summaries = {row.rule: row.summary for row in watched.store.rows(ALERTS).all()}
    assert summaries["quarantined"] == "quarantined: its sums cannot be"
    assert summaries["certificate-expires"].startswith("its certificate expires on 2027-01-20")
    assert summaries["rollout-waits"] == "rollout of watch 2 is paused: undecided"


def test_a_silenced_alert_is_told_when_the_silence_ends_and_it_still_holds(watched: Watched) -> None:
    watched.rule("labels > 50")
    with watched.store.transaction():
        add_silence(watched.store, "mine", "", "", watched.wall_s + 100.0, "ada", "works", watched.wall_s)
        add_silence(watched.store, "", "pump-2", "", watched.wall_s + DAY_S, "ada", "", watched.wall_s)
        by_filter = add_silence(
            watched.store, "", "", "release == 3", watched.wall_s + DAY_S, "ada", "", watched.wall_s
        )
    for name, release in (("pump-1", 0), ("pump-2", 0), ("pump-3", 3), ("pump-4", 0)):
        watched.device(name, labels=60, release=release)
    watched.wait(50)
    assert len(watched.open()) == 4
    watched.device("pump-4", labels=0)
    watched.wait(30)
    assert watched.events() == []
    watched.restart()
    watched.wait(100)
    assert watched.events() == [("opened", "mine", "pump-1")]
    with watched.store.transaction():
        end_silence(watched.store, by_filter.number)
    watched.wait()
    assert watched.events()[1:] == [("opened", "mine", "pump-3")]


def test_an_acknowledgement_is_told_once_and_only_of_an_open_alert(watched: Watched) -> None:
    watched.device(labels=60)
    watched.rule("labels > 50")
    watched.wait()
    with watched.store.transaction():
        acknowledge(watched.store, 1, "ada", "on my way", watched.wall_s)
        acknowledge(watched.store, 1, "bob", "me too", watched.wall_s)
    watched.wait(30)
    assert watched.events() == [("opened", "mine", "pump-1"), ("acknowledged", "mine", "pump-1")]
    assert (watched.alert().acknowledged_by, watched.alert().remark) == ("ada", "on my way")
    with watched.store.transaction(), pytest.raises(ConfigError, match="acknowledged by ada"):
        acknowledge(watched.store, 1, "bob", "", watched.wall_s)
    watched.device(labels=0)
    watched.wait()
    with watched.store.transaction(), pytest.raises(ConfigError, match="no open alert 1"):
        acknowledge(watched.store, 1, "bob", "", watched.wall_s)


def test_alerts_of_a_rule_that_is_switched_off_or_removed_close(watched: Watched) -> None:
    watched.device(labels=60)
    watched.rule("labels > 50")
    watched.rule("labels > 40", name="other", for_s=3600.0)
    watched.wait()
    with watched.store.transaction():
        switch_rule(watched.store, "mine", False, watched.wall_s)
        assert not remove_rule(watched.store, "other")
    watched.wait()
    assert watched.events()[-1] == ("closed", "mine", "pump-1")
    assert watched.alert().summary == "the rule is switched off"
    with watched.store.transaction():
        assert watched.store.rows(ALERTS).count() == 1
        with pytest.raises(ConfigError, match="built in; switch it off"):
            remove_rule(watched.store, "drift")


def test_a_rule_that_cannot_be_used_any_more_is_an_alert_and_keeps_those_it_had(watched: Watched) -> None:
    watched.device(labels=60)
    with watched.store.transaction():
        put_filter_group(watched.store, "busy", "labels > 50", watched.wall_s)
    watched.rule('group == "busy"')
    watched.wait()
    with watched.store.transaction():
        delete_group(watched.store, "busy")
    watched.wait(30)
    assert watched.open() == [("mine", "pump-1"), ("mine", "_rule")]
    assert "there is no group 'busy'" in watched.alert(2).summary
    with watched.store.transaction():
        put_filter_group(watched.store, "busy", "labels > 70", watched.wall_s)
    watched.wait()
    assert watched.open() == []


def test_a_whole_fleet_that_falls_silent_is_told_in_turns(watched: Watched) -> None:
    names = [f"pump-{number:03}" for number in range(240)]
    with watched.store.transaction():
        watched.store.registry.put([RegistryRow(name, watched.wall_s, watched.wall_s, labels=60) for name in names])
    watched.rule("labels > 50")
    watched.wait()
    assert len(watched.events()) == 100
    watched.wait()
    watched.restart()
    watched.wait()
    assert len(watched.events()) == 240
    assert len({subject for _, _, subject in watched.events()}) == 240
    notes = [effect.text for effect in watched.effects if isinstance(effect, Note)]
    assert len(notes) == 33
    assert "90 more changes of alerts" in notes[10]


def test_what_is_over_is_forgotten_beyond_the_bound(watched: Watched) -> None:
    watched.policy = AlertPolicy(kept_max=3)
    watched.restart()
    watched.device("lasting", release=3)
    watched.rule("labels > 50 or release == 3")
    watched.wait()
    for _ in range(6):
        watched.device("pump-1", labels=60)
        watched.wait()
        watched.device("pump-1", labels=0)
        watched.wait()
    with watched.store.transaction():
        assert [row.number for row in watched.store.rows(ALERTS).all()] == [1, 5, 6, 7]
        assert [row.number for row in watched.store.rows(ALERT_EVENTS).all()] == [11, 12, 13]


def test_open_alerts_are_retained_on_the_broker_and_cleared_when_they_close(watched: Watched) -> None:
    watched.policy = AlertPolicy(mqtt=True)
    watched.restart()
    watched.device(labels=60)
    watched.rule("labels > 50")
    watched.wait()
    (sent,) = [effect for effect in watched.effects if isinstance(effect, Outgoing)]
    name = alert_topic("plant", "mine", "pump-1")
    assert (sent.topic, sent.retain) == (name, True)
    assert json.loads(sent.payload)["summary"] == "labels 60"
    with watched.store.transaction():
        watched.alerts.again()
    watched.effects.clear()
    watched.wait()
    assert watched.effects == [sent]
    watched.device(labels=0)
    watched.wait()
    with watched.store.transaction():
        assert watched.clearings.take() == [Outgoing(name, b"", retain=True)]
        assert name in watched.clearings
    # what is open again must not be cleared by what the broker has not confirmed
    watched.device(labels=60)
    watched.wait()
    assert name not in watched.clearings


@pytest.mark.parametrize(
    ("watches", "condition", "for_s", "problem"),
    [
        (Watches.DEVICES, "lables > 3", 0.0, "no field lables"),
        (Watches.CERTIFICATES, "soon", 0.0, "no duration"),
        (Watches.CERTIFICATES, "3 years", 0.0, "one of s, m, min, h, d, w"),
        (Watches.ROLLOUTS, "halted, stuck", 0.0, "'stuck' is no state of a rollout"),
        (Watches.DEVICES, "labels > 3", -1.0, "0 to 2.592e"),
        (Watches.DEVICES, "labels > 3", float("nan"), "0 to 2.592e"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(watches: Watches, condition: str, for_s: float, problem: str) -> None:
    watched = Watched(MemoryStore())
    with pytest.raises(ConfigError, match=problem):
        watched.rule(condition, for_s=for_s, watches=watches)
    with pytest.raises(ConfigError, match="not a valid name"):
        watched.rule("labels > 3", name="two/levels")


def test_many_rules_are_looked_at_in_turns(watched: Watched) -> None:
    watched.device(labels=60)
    for number in range(30):
        watched.rule("labels > 50", name=f"r{number:02}")
    watched.wait(1.0, steps_s=1.0)
    assert len(watched.open()) < 12
    watched.wait(3.0, steps_s=1.0)
    assert len(watched.open()) == 30
    watched.device(labels=0)
    watched.wait(14.0, steps_s=1.0)
    assert watched.open() == []
    assert len(watched.events()) == 60


def test_a_clock_that_is_set_back_delays_nothing_for_long(watched: Watched) -> None:
    watched.device(labels=60)
    watched.rule("labels > 50", for_s=100.0)
    watched.wait(50)
    watched.shift_s = -1e7
    watched.wait(120)
    assert watched.open() == [("mine", "pump-1")]
    watched.device(labels=0)
    watched.wait(50)
    watched.shift_s = -2e7
    watched.wait(120)
    assert watched.open() == []


def test_a_transaction_that_fails_leaves_neither_alert_nor_event(watched: Watched) -> None:
    watched.device(labels=60)
    watched.rule("labels > 50")

    def fail() -> None:
        with watched.store.transaction():
            watched.alerts.tick(Instant(99.0, watched.wall_s))
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert (watched.open(), watched.events()) == ([], [])
    watched.restart()  # what the service does then
    watched.wait()
    assert watched.events() == [("opened", "mine", "pump-1")]


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_each_change_of_an_alert_is_told_once(seed: int) -> None:
    """Values to and fro, silences, acknowledgements, failed transactions, kills, a channel that fails and is killed."""
    chance = random.Random(seed)
    watched = Watched(MemoryStore())
    channel = KilledChannel(chance)
    with watched.store.transaction():
        begin_channels(watched.store, [channel.name])
    names = [f"pump-{number}" for number in range(6)]
    for name in names:
        watched.device(name)
    watched.rule("labels > 50")
    watched.rule("release == 3", name="other", for_s=20.0)

    def deliver() -> None:
        try:
            while Delivery("plant", watched.store, channel, 1e9, SystemClock()).step():
                continue
        except KilledChannel.Killed:
            return

    for _ in range(300):
        match chance.randrange(9):
            case 0 | 1 | 2:
                watched.device(chance.choice(names), labels=chance.choice((0, 60)), release=chance.choice((0, 3)))
            case 3:
                with watched.store.transaction():
                    until_s = watched.wall_s + chance.choice((15.0, 60.0))
                    add_silence(watched.store, "", chance.choice(names), "", until_s, "ada", "", watched.wall_s)
            case 4:
                with watched.store.transaction():
                    for row in watched.store.rows(ALERTS).where(state=str(State.OPEN), acknowledged_by="")[:1]:
                        acknowledge(watched.store, row.number, "ada", "", watched.wall_s)
            case 5:
                with contextlib.suppress(ArithmeticError), watched.store.transaction():
                    watched.alerts.tick(Instant(watched.now_s + 10.0, watched.wall_s + 10.0))
                    raise ArithmeticError
                watched.restart()
            case 6:
                watched.restart()
            case 7:
                deliver()
            case _:
                watched.wait()
    channel.quiet = True
    watched.wait(100)
    deliver()
    with watched.store.transaction():
        events = watched.store.rows(ALERT_EVENTS).all()
        standing = {row.number for row in watched.store.rows(ALERTS).where(state=str(State.OPEN), told=True)}
    assert len(events) > 50
    # once by id, in order, none missing
    assert list(channel.taken.values()) == [event.number for event in events]
    assert list(channel.taken) == [event.id for event in events]
    stories: dict[int, list[str]] = {}
    for event in events:
        stories.setdefault(json.loads(event.body)["alert"], []).append(event.change)
    for number, story in stories.items():
        ends = [] if number in standing else ["closed"]
        assert story in (["opened", *ends], ["opened", "acknowledged", *ends])


class KilledChannel:
    """Fails, or is killed before or after it took a message; keeps what it took by the events' ids."""

    class Killed(Exception):
        pass

    name, events_max, interval_s = "killed", 3, 0.0

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.taken: dict[str, int] = {}
        self.quiet = False

    def send(self, message: AlertMessage) -> None:
        fate = 9 if self.quiet else self._chance.randrange(6)
        if fate == 0:
            raise TransportError("not now")
        if fate == 1:
            raise self.Killed
        self.taken |= {event.id: event.number for event in message.events}
        if fate == 2:
            raise self.Killed


def test_every_built_in_rule_can_be_put(watched: Watched) -> None:
    with watched.store.transaction():
        for rule in BUILT_IN.values():
            put_rule(watched.store, rule)
            assert remove_rule(watched.store, rule.name)
    assert {change.value for change in Change} == {"opened", "acknowledged", "closed"}
