"""Commands from afar: each takes effect once, whatever is lost, repeated or killed, and none after its deadline."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_agent.learner_settings import PolicySettings
from edge_agent.remote_commands.diagnostics import redacted
from edge_agent.store import COMMANDS
from edge_agent.sync import CommandLog
from edge_agent.sync.command_log import REMEMBERED_MAX
from headway.errors import StoreError
from headway.fields import JsonValue, canonical_json
from headway.logs import RecentLines
from headway.ports import Connected, Disconnected, Received, Response
from headway.wire import (
    DETAIL_BYTES_MAX,
    RESULTS_MAX,
    Command,
    CommandResult,
    CommandResults,
    Commands,
    Event,
    Kind,
    topic,
)
from tests.device import Device
from tests.edge_agent.variants import CLASSES, windows

IDS = tuple(f"{number:016x}" for number in range(1, 9))


def command(name: str, number: int = 0, deadline_s: float = 2e9, **arguments: JsonValue) -> Command:
    return Command(IDS[number], name, arguments, deadline_s)


class Commanded:
    """A device with a connection, on real files; 30 windows with ids wait for their labels."""

    def __init__(self, folder: Path, trigger: str = "always") -> None:
        self.device = Device(folder)
        policy = PolicySettings(trigger=trigger, every_labels=1000)
        self.device.config = replace(self.device.config, policy=policy)
        self.restart()
        x, self.labels = windows(30, drift=0.8, seed=1)
        spool = folder / "spool"
        np.savez(spool / ".first.npz", x=x, id=np.array([f"w{i}" for i in range(30)]))
        (spool / ".first.npz").rename(spool / "first.npz")
        self.device.turn()

    def restart(self) -> None:
        """The process was killed; another one goes on with what is on the disk."""
        self.device.loop.store.current.close()
        self.device.boot()
        self.device.loop.handle(Connected(True))

    def give(self, *commands: Command) -> None:
        name = topic("test", "pump", Kind.COMMANDS)
        self.device.loop.handle(Received(name, Commands(commands).encode(), True))
        self.device.turn()

    @property
    def told(self) -> CommandResults:
        return CommandResults.decode(self.device.wire.of(Kind.COMMAND_RESULTS)[-1])

    @property
    def result(self) -> CommandResult:
        (only,) = self.told.results
        return only


@pytest.fixture
def subject(tmp_path: Path) -> Commanded:
    return Commanded(tmp_path)


def test_a_device_says_what_it_can_do_on_each_connection(subject: Commanded) -> None:
    assert "label" in subject.told.supported
    assert subject.told.results == ()
    before = len(subject.device.wire.of(Kind.COMMAND_RESULTS))
    subject.device.turn(1000)
    assert len(subject.device.wire.of(Kind.COMMAND_RESULTS)) == before, "and then no more"
    subject.device.loop.handle(Disconnected("gone", Response.RETRY))
    subject.device.loop.handle(Connected(True))
    subject.device.turn()
    assert len(subject.device.wire.of(Kind.COMMAND_RESULTS)) == before + 1


def test_a_label_by_command_counts_once_however_often_it_comes(subject: Commanded) -> None:
    name = CLASSES[subject.labels[3]]
    order = command("label", window="w3", **{"class": name})
    for _ in range(3):
        subject.give(order)
    assert (subject.result.state, subject.result.detail) == ("done", {"label": "learned"})
    assert subject.device.loop.agent.learner.labels == 1
    subject.restart()
    subject.give(order)
    assert subject.device.loop.agent.learner.labels == 1
    assert subject.result.detail == {"label": "learned"}


def test_a_label_and_its_result_are_saved_together_or_not_at_all(subject: Commanded) -> None:
    """Killed between the effect and its commit the device knows of neither, and does it again."""
    order = command("label", window="w3", **{"class": CLASSES[subject.labels[3]]})
    store = subject.device.loop.store.current
    with pytest.MonkeyPatch.context() as patched:

        def killed(changes: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(type(store), "commit", lambda self, changes: killed(changes))
        with pytest.raises(KeyboardInterrupt):
            subject.give(order)
    subject.restart()
    assert subject.device.loop.agent.learner.labels == 0
    assert subject.device.loop.agent.command_log.results == ()
    subject.give(order)
    assert subject.device.loop.agent.learner.labels == 1


def test_a_result_is_told_after_a_kill_until_the_aggregator_has_it(subject: Commanded) -> None:
    order = command("label", window="w3", **{"class": CLASSES[subject.labels[3]]})
    subject.device.loop.handle(Disconnected("gone", Response.RETRY))
    subject.give(order)
    subject.restart()
    subject.device.turn()
    assert subject.result.state == "done"
    before = len(subject.device.wire.of(Kind.COMMAND_RESULTS))
    subject.device.turn(subject.device.config.sync.ack_timeout_s)
    assert len(subject.device.wire.of(Kind.COMMAND_RESULTS)) == before + 1, "there was no answer"
    subject.give()
    assert subject.told.results == (), "what the broker retains is not told for ever"
    subject.give(order)
    assert subject.device.loop.agent.learner.labels == 1


def test_what_was_done_while_nobody_could_hear_of_it_is_told_although_its_deadline_has_passed(
    subject: Commanded,
) -> None:
    """The aggregator has taken it off the list by then, and calls it expired until it hears."""
    order = command("label", window="w3", deadline_s=1.8e9 + 60, **{"class": CLASSES[subject.labels[3]]})
    subject.device.loop.handle(Disconnected("gone", Response.RETRY))
    subject.give(order)
    assert subject.device.loop.agent.learner.labels == 1
    subject.device.clock.wall += 3600
    subject.restart()
    subject.device.loop.handle(Disconnected("gone", Response.RETRY))
    subject.device.loop.handle(Connected(True))
    subject.give()  # what the broker retains comes first
    assert (subject.result.id, subject.result.state) == (order.id, "done")
    subject.give()
    assert subject.told.results == (), "now it has arrived"


def test_a_result_that_the_aggregator_lost_is_told_again(subject: Commanded) -> None:
    """Its store was set back: it lists what it had heard of already."""
    order = command("label", window="w3", **{"class": CLASSES[subject.labels[3]]})
    subject.give(order)
    subject.give()
    assert subject.told.results == ()
    subject.restart()
    subject.give(order)
    assert (subject.result.id, subject.result.state) == (order.id, "done")
    assert subject.device.loop.agent.learner.labels == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"window": "w99", "class": "walk"}, "does not remember window 'w99'"),
        ({"window": "w1", "class": "wlak"}, "did you mean 'walk'"),
        ({"window": "w1"}, "lacks 'class'"),
        ({"window": "w1", "class": 1}, "must be text"),
        ({"window": "w1", "class": "walk", "classes": "x"}, "unknown key"),
    ],
)
def test_a_label_that_cannot_be_given_fails_with_the_reason(
    subject: Commanded, arguments: dict[str, JsonValue], reason: str
) -> None:
    subject.give(command("label", **arguments))
    assert subject.result.state == "failed"
    assert reason in str(subject.result.detail["problem"])
    assert subject.device.loop.agent.learner.labels == 0


def test_a_command_that_nobody_knows_fails(subject: Commanded) -> None:
    subject.give(command("dance"))
    assert subject.result.state == "failed"
    assert "no command 'dance'" in str(subject.result.detail["problem"])


def test_after_its_deadline_nothing_is_done(subject: Commanded) -> None:
    late = command("label", deadline_s=1.8e9, window="w3", **{"class": "walk"})
    subject.give(late)
    assert subject.result.state == "expired"
    assert subject.device.loop.agent.learner.labels == 0
    subject.device.clock.wall -= 1000.0
    subject.give(late)
    assert subject.device.loop.agent.learner.labels == 0, "nor when the clock goes back"


def test_labels_that_wait_are_learned_on_command(tmp_path: Path) -> None:
    subject = Commanded(tmp_path, trigger="labels")
    for number in range(4):
        subject.give(command("label", number, window=f"w{number}", **{"class": CLASSES[subject.labels[number]]}))
        assert subject.told.results[-1].detail == {"label": "waiting"}
        subject.give()
    assert subject.device.loop.agent.learner.labels == 0
    subject.give(command("train-now", 5))
    subject.device.turn()
    subject.device.turn()
    assert (subject.result.state, subject.result.detail) == ("done", {"learned": 4})
    assert subject.device.loop.agent.learner.labels == 4


def test_labels_are_asked_for_on_command(subject: Commanded) -> None:
    subject.give(command("ask-for-labels", count=3))
    assert len(subject.result.detail["windows"]) == 3  # type: ignore[arg-type]
    subject.device.turn()
    wanted = [event for event in subject.device.wire.events if event.name == "labels-wanted"]
    assert [event.detail["ids"] for event in wanted] == [subject.result.detail["windows"]]


def test_everything_is_told_at_once_on_command(subject: Commanded) -> None:
    subject.device.drop("labelled", 5, 2)
    subject.device.turn()
    before = len(subject.device.wire.of(Kind.STATISTICS))
    subject.give(command("sync-now"))
    subject.device.turn(0.0)
    assert len(subject.device.wire.of(Kind.STATISTICS)) > before
    assert subject.result.detail["counter"] == 5


def test_a_restart_is_saved_first_and_happens_once(subject: Commanded) -> None:
    subject.give(command("restart"))
    assert subject.result.state == "done"
    assert subject.device.loop.stopping
    subject.restart()
    subject.give(command("restart"))
    assert not subject.device.loop.stopping


def test_nothing_is_begun_while_the_disk_refuses(subject: Commanded) -> None:
    subject.device.loop.store.failed(StoreError("disk full"), subject.device.clock.now_s)
    order = command("label", window="w3", **{"class": CLASSES[subject.labels[3]]})
    subject.device.clock.now_s -= 1.0
    subject.give(order)
    assert subject.device.loop.agent.learner.labels == 0
    subject.device.turn(20.0)
    subject.device.turn()
    assert subject.result.state == "done"
    assert subject.device.loop.agent.learner.labels == 1


def test_diagnostics_are_bounded_and_hold_no_secret(subject: Commanded) -> None:
    recent = RecentLines()
    logging.getLogger().addHandler(recent)
    try:
        for number in range(300):
            logging.getLogger("edge-agent").warning("line %d: password=hunter%d %s", number, number, "x" * 400)
        subject.give(command("diagnostics"))
    finally:
        logging.getLogger().removeHandler(recent)
    detail = subject.result.detail
    encoded = json.dumps(detail)
    assert len(canonical_json(dict(detail))) <= DETAIL_BYTES_MAX
    assert "hunter" not in encoded
    assert "line 299" in encoded
    assert detail["windows_remembered"] == 30


@pytest.mark.parametrize(
    "text",
    [
        "mqtt password: hunter2",
        "PASSWORD='hunter2'",
        "https://anna:hunter2@example.org/x",
        "join code=hunter2",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        "/home/hunter2/agent.toml",
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str) -> None:
    assert "hunter2" not in redacted(text)


def test_the_log_of_commands_is_bounded_and_survives() -> None:
    log = CommandLog()
    for number in range(REMEMBERED_MAX + 10):
        log.add(CommandResult(f"{number:016x}", "done", {"number": number}, 1.0))
    assert len(log.results) == RESULTS_MAX
    assert f"{9:016x}" not in log
    assert f"{10:016x}" in log
    saved = log.take_changes(0).state  # type: ignore[arg-type]
    again = CommandLog()
    again.restore(saved)
    assert again.results == log.results
    assert f"{10:016x}" in again
    damaged = {name: value[:-3] + b"xyz" for name, value in saved.items()}
    with pytest.raises(StoreError):
        CommandLog().restore(damaged)


def test_a_message_that_is_no_list_of_commands_is_refused(subject: Commanded) -> None:
    name = topic("test", "pump", Kind.COMMANDS)
    subject.device.loop.handle(Received(name, b'{"schema":1}', True))
    assert subject.device.loop.refused == 1
    assert isinstance(subject.device.wire.events[-1], Event)


def test_a_device_without_commands_saves_nothing_of_them(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.drop("a", 3, 1)
    device.turn()
    assert COMMANDS not in device.loop.store.current.load()


def test_what_a_command_did_is_told_to_nobody_before_the_disk_has_it(subject: Commanded) -> None:
    """The first thing that meets a disk which refuses is the command: its label must not go out in a report that a
    power cut would take back, because the report's number would be used again."""
    device = subject.device
    device.connection.execute("PRAGMA query_only=1")
    reports, results = len(device.wire.of(Kind.STATISTICS)), len(device.wire.of(Kind.COMMAND_RESULTS))
    subject.give(command("label", window="w3", **{"class": CLASSES[1]}))
    device.turn(5.0)
    assert device.loop.store.degraded
    assert device.tables.samples == 1
    assert (len(device.wire.of(Kind.STATISTICS)), len(device.wire.of(Kind.COMMAND_RESULTS))) == (reports, results)
    device.connection.execute("PRAGMA query_only=0")
    for _ in range(3):
        device.turn(60.0)
    assert subject.result.state == "done"
    assert len(device.wire.of(Kind.STATISTICS)) > reports
