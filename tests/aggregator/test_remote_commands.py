"""Commands to devices, on the server: sent to those that know them, ended once, by a result or by their deadline."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aggregator.audit import problems
from aggregator.cli import main
from aggregator.effects import Effect
from aggregator.remote_commands import ask, commands_of
from aggregator.remote_commands.asking import OPEN_MAX
from aggregator.remote_commands.remote_commands import ENDED_MAX, NEVER_SENT
from aggregator.store import DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import AUDIT, DEVICE_COMMANDS, SUPPORTED_COMMANDS, CommandRow, SupportedCommandsRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError
from headway.fields import JsonValue
from headway.ports import Outgoing, Received
from headway.wire import COMMANDS_MAX, CommandResult, CommandResults, Commands, Kind, Status, parse_topic, topic
from tests.aggregator.fleets import FLEET, Fleet

NAMES = ("diagnostics", "label", "restart", "sync-now")


def know(fleet: Fleet, device: str) -> None:
    fleet.send(Received(topic(FLEET, device, Kind.STATUS), Status(True, 1).encode()))


def tell(fleet: Fleet, device: str, *results: CommandResult, names: tuple[str, ...] = NAMES) -> list[Effect]:
    payload = CommandResults(names, results).encode()
    return fleet.send(Received(topic(FLEET, device, Kind.COMMAND_RESULTS), payload, retain=True))


def asked(fleet: Fleet, device: str, name: str, seconds: float = 60.0, **arguments: JsonValue) -> CommandRow:
    with fleet.store.transaction():
        return ask(fleet.store, device, name, arguments, "local:op", fleet.instant.wall_s, seconds)


def rows(fleet: Fleet, device: str = "a") -> list[CommandRow]:
    with fleet.store.transaction():
        return commands_of(fleet.store, device)


def states(fleet: Fleet, device: str = "a") -> list[str]:
    return [row.state for row in rows(fleet, device)]


def lists(effects: list[Effect], device: str = "a") -> list[list[str]]:
    """Ids in each list of commands that went out to a device."""
    found = [one for one in effects if isinstance(one, Outgoing) and one.topic.endswith("/commands") and one.payload]
    assert all(one.retain for one in found)
    own = [one for one in found if parse_topic(one.topic).device == device]
    return [[command.id for command in Commands.decode(one.payload).commands] for one in own]


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    know(fleet, "a")
    tell(fleet, "a")
    return fleet


def test_a_command_goes_out_with_the_next_turn_and_ends_with_its_result(fleet: Fleet) -> None:
    row = asked(fleet, "a", "label", window="w1", **{"class": "walk"})
    assert lists(fleet.pass_time(1.0)) == [[row.id]]
    assert states(fleet) == ["sent"]
    answer = tell(fleet, "a", CommandResult(row.id, "done", {"label": "learned"}, 1.0))
    assert lists(answer) == [[]], "the device hears that its result has arrived"
    (ended,) = rows(fleet)
    assert (ended.state, json.loads(ended.detail)) == ("done", {"label": "learned"})


def test_a_result_that_comes_again_changes_nothing_and_is_answered_again(fleet: Fleet) -> None:
    row = asked(fleet, "a", "sync-now")
    fleet.pass_time(1.0)
    tell(fleet, "a", CommandResult(row.id, "done", {"counter": 1}, 1.0))
    assert lists(tell(fleet, "a", CommandResult(row.id, "failed", {"problem": "x"}, 2.0))) == [[]]
    assert states(fleet) == ["done"]
    assert lists(tell(fleet, "a")) == [], "nor does a message without results ask for an answer"


def test_an_older_agent_is_sent_nothing_until_it_says_that_it_takes_commands() -> None:
    fleet = Fleet()
    know(fleet, "a")
    asked(fleet, "a", "sync-now", seconds=10)
    second = asked(fleet, "a", "restart", seconds=100)
    assert lists(fleet.pass_time(1.0)) == []
    assert lists(fleet.pass_time(10.0)) == [[]], "what has ended is in no list"
    assert states(fleet) == ["expired", "asked"]
    assert json.loads(rows(fleet)[0].detail) == {"problem": NEVER_SENT}
    tell(fleet, "a")
    assert lists(fleet.pass_time(1.0)) == [[second.id]]


def test_a_command_that_this_device_does_not_know_fails_at_once() -> None:
    fleet = Fleet()
    know(fleet, "a")
    asked(fleet, "a", "train-now")
    tell(fleet, "a")
    fleet.pass_time(1.0)
    assert states(fleet) == ["failed"]
    with pytest.raises(ConfigError, match="knows no command 'train-now'"):
        asked(fleet, "a", "train-now")


def test_at_its_deadline_a_command_is_taken_back_and_a_late_result_still_told(fleet: Fleet) -> None:
    row = asked(fleet, "a", "restart", seconds=30)
    fleet.pass_time(1.0)
    assert lists(fleet.pass_time(30.0)) == [[]]
    assert states(fleet) == ["expired"]
    tell(fleet, "a", CommandResult(row.id, "expired", {}, 1.0))
    assert states(fleet) == ["expired"]
    tell(fleet, "a", CommandResult(row.id, "done", {}, 1.0))
    assert states(fleet) == ["done"], "it was done in time, on a device without a connection"


def test_what_a_killed_server_had_not_sent_goes_out_with_its_next_connection(fleet: Fleet) -> None:
    row = asked(fleet, "a", "restart")
    fleet.pass_time(1.0)  # and killed before the message left
    fleet.restart()
    with fleet.store.transaction():
        fleet.core.connected(fleet.instant)
    assert lists(fleet.send()) == [[row.id]]


def test_what_is_asked_together_goes_out_in_order(fleet: Fleet) -> None:
    ids = [asked(fleet, "a", "sync-now").id for _ in range(COMMANDS_MAX)]
    assert lists(fleet.pass_time(1.0)) == [ids]


def test_a_device_is_given_no_more_at_once_than_it_takes_and_the_others_in_order(fleet: Fleet) -> None:
    ids = [asked(fleet, "a", "sync-now").id for _ in range(OPEN_MAX)]
    with pytest.raises(ConfigError, match="128 commands wait"):
        asked(fleet, "a", "sync-now")
    assert lists(fleet.pass_time(1.0)) == [ids[:COMMANDS_MAX]]
    assert lists(fleet.pass_time(1.0)) == []
    tell(fleet, "a", *(CommandResult(one, "done", {}, 1.0) for one in ids[:3]))
    assert lists(fleet.pass_time(1.0)) == [ids[3 : COMMANDS_MAX + 3]]


def test_commands_that_ended_are_kept_in_bounded_number(fleet: Fleet) -> None:
    for number in range(ENDED_MAX + 5):
        row = asked(fleet, "a", "sync-now")
        fleet.pass_time(1.0)
        tell(fleet, "a", CommandResult(row.id, "done", {"counter": number}, 1.0))
    kept = rows(fleet)
    assert len(kept) == ENDED_MAX
    assert json.loads(kept[-1].detail) == {"counter": ENDED_MAX + 4}


def test_a_removed_device_leaves_no_command_behind(fleet: Fleet) -> None:
    asked(fleet, "a", "restart")
    fleet.pass_time(1.0)
    with fleet.store.transaction():
        fleet.store.request_removal("a", 1.0)
    effects = fleet.pass_time(1.0)
    cleared = {one.topic for one in effects if isinstance(one, Outgoing) and one.retain and not one.payload}
    assert {topic(FLEET, "a", kind) for kind in (Kind.COMMANDS, Kind.COMMAND_RESULTS)} <= cleared
    assert rows(fleet) == []
    with fleet.store.transaction():
        assert fleet.store.rows(SUPPORTED_COMMANDS).all() == []


def test_results_of_another_device_or_of_nothing_change_nothing(fleet: Fleet) -> None:
    know(fleet, "b")
    row = asked(fleet, "a", "restart")
    fleet.pass_time(1.0)
    tell(fleet, "b", CommandResult(row.id, "done", {}, 1.0))
    assert states(fleet) == ["sent"]
    tell(fleet, "a", CommandResult("f" * 16, "done", {}, 1.0))
    assert states(fleet) == ["sent"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-7", 0.0, 1.0))
        store.registry.put([RegistryRow("pump-7", 0.0, 1.0)])
        store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow("pump-7", json.dumps(["label", "sync-now"])))
    store.close()
    return tmp_path


def test_a_command_is_asked_for_listed_and_audited(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--state-dir", str(folder)]
    assert main(["command", *place, "pump-7", "label", "window=w17", "class=\x1b[31mwalk"]) == 0
    assert "asked pump-7 to label" in capsys.readouterr().out
    assert main(["commands", *place, "pump-7"]) == 0
    shown = capsys.readouterr().out
    assert "window=w17" in shown
    assert "\x1b" not in shown
    assert main(["commands", *place, "pump-7", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["state"], told["arguments"]["window"]) == ("asked", "w17")
    store = SqlStore(sqlite_url(folder))
    with store.transaction():
        (entry,) = store.rows(AUDIT).all()
        assert (entry.act, entry.subject) == ("command-label", "pump-7")
        assert problems(store) == []
    store.close()


def test_who_waits_for_a_result_hears_when_none_comes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["command", "--state-dir", str(folder), "pump-7", "sync-now", "--wait-s", "0.1", "--json"]
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "asked"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["pump-8", "sync-now"], "no device 'pump-8'"),
        (["pump-7", "sinc-now"], "did you mean 'sync-now'"),
        (["pump-7", "restart"], "it can do: label, sync-now"),
        (["pump-7", "label", "window=w1"], "needs class="),
        (["pump-7", "label", "window=w1", "class="], "1 to 256 characters"),
        (["pump-7", "label", "window=w1", "klass=x"], "no argument 'klass'"),
        (["pump-7", "label", "w1"], "write name=value"),
        (["pump-7", "ask-for-labels", "count=many"], "must be int"),
        (["pump-7", "sync-now", "--expires", "soon"], "is no duration"),
        (["pump-7", "sync-now", "--expires", "90d"], "within 30 days"),
        (["pump-7", "sync-now", "--wait-s", "-1"], "--wait-s must be"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    assert main(["command", "--state-dir", str(folder), *words]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    store = SqlStore(sqlite_url(folder))
    with store.transaction():
        assert store.rows(DEVICE_COMMANDS).all() == []
    store.close()
