"""One command to every device of a group or of a filter: an id for each, bounded, with a summary of what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.operations import Operator, command_devices, command_summary, together
from aggregator.registry import put_filter_group, put_list_group
from aggregator.remote_commands import OPEN_MAX, ask
from aggregator.remote_commands import remote_commands as sending
from aggregator.remote_commands.remote_commands import ENDED_MAX
from aggregator.store import DeviceRow, RegistryRow, sqlite_url
from aggregator.store.rows import ASKED_WITH, AUDIT, DEVICE_COMMANDS, SUPPORTED_COMMANDS, SupportedCommandsRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError, UnknownNameError
from headway.wire import CommandResult
from tests.aggregator.fleets import Fleet
from tests.aggregator.test_remote_commands import know, lists, tell

NOW_S = 1.8e9


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    """Six devices; one takes no diagnostics, one has never said what it takes."""
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        for number in range(6):
            name = f"pump-{number}"
            store.put_device(DeviceRow(name, 0.0, 1.0))
            store.registry.put([RegistryRow(name, 0.0, 1.0, labels=10 * number)])
            names = ["sync-now"] if number == 1 else ["sync-now", "diagnostics"]
            if number != 2:
                store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow(name, json.dumps(names)))
        put_list_group(store, "canaries", ["pump-0", "pump-3"], [], 1.0)
        put_filter_group(store, "busy", "labels > 25", 1.0)
    return store


def operator(store: SqlStore, now_s: float = NOW_S) -> Operator:
    return Operator(store, "user:olga", now_s)


@pytest.mark.parametrize(
    ("wanted", "group", "asked"),
    [("labels > 15", "", [2, 3, 4, 5]), ("", "canaries", [0, 3]), ("", "busy", [3, 4, 5]),
     ('group == "busy" and not group == "canaries"', "", [4, 5])],
)  # fmt: skip
def test_everybody_who_is_meant_is_asked_under_an_id_of_their_own(
    store: SqlStore, wanted: str, group: str, asked: list[int]
) -> None:
    with store.transaction():
        told = command_devices(operator(store), wanted, group, "sync-now", {}, 60.0)
        rows = together(store, told.number)
        summary = command_summary(store, told.number)
    assert [row.device for row in rows] == [f"pump-{number}" for number in asked]
    assert len({row.id for row in rows}) == len({row.number for row in rows}) == len(asked)
    assert (told.devices, told.refused, summary.states) == (len(asked), 0, {"asked": len(asked)})


def test_who_cannot_be_asked_is_told_and_holds_up_nobody(store: SqlStore) -> None:
    with store.transaction():
        for _ in range(OPEN_MAX):
            ask(store, "pump-4", "sync-now", {}, "local:op", NOW_S, 60.0)
        told = command_devices(operator(store), "labels >= 0", "", "diagnostics", {}, 60.0)
        (entry,) = [row for row in store.rows(AUDIT).all() if row.act == "command-diagnostics"]
    assert (told.devices, told.refused) == (4, 2)
    assert [(each.device, each.problem) for each in told.problems] == [
        ("pump-1", "pump-1 knows no command 'diagnostics'; it can do: sync-now"),
        ("pump-4", f"{OPEN_MAX} commands wait for pump-4 already"),
    ]
    assert (entry.who, entry.subject) == ("user:olga", "4 devices")
    detail = json.loads(entry.detail)
    assert (detail["refused"], detail["number"]) == (2, told.number)
    assert detail["devices"] == ["pump-0", "pump-2", "pump-3", "pump-5"]


@pytest.mark.parametrize(
    ("wanted", "group", "name", "error", "said"),
    [
        ("", "", "sync-now", ConfigError, "give either a filter or a group"),
        ("labels > 5", "busy", "sync-now", ConfigError, "give either a filter or a group"),
        ("labels > 1000", "", "sync-now", ConfigError, "no device is like that"),
        ("", "nobody", "sync-now", UnknownNameError, "there is no group 'nobody'"),
        ("labels > 5", "", "dance", ConfigError, "there is no command 'dance'"),
        ("lables > 5", "", "sync-now", ConfigError, "lables"),
    ],
)
def test_what_cannot_be_meant_asks_nobody(
    store: SqlStore, wanted: str, group: str, name: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said), store.transaction():
        command_devices(operator(store), wanted, group, name, {}, 60.0)
    with store.transaction():
        assert store.number("device_commands") == 0
        assert [row for row in store.rows(AUDIT).all() if row.act.startswith("command")] == []


def test_a_command_to_more_devices_than_one_act_may_reach_asks_nobody(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.operations.commands.COMMANDED_MAX", 5)
    with pytest.raises(ConfigError, match="6 devices are like that; a command goes to 5 at most"), store.transaction():
        command_devices(operator(store), "labels >= 0", "", "sync-now", {}, 60.0)


def test_commands_of_two_acts_are_not_mixed(store: SqlStore) -> None:
    with store.transaction():
        first = command_devices(operator(store), "", "busy", "sync-now", {}, 60.0)
        second = command_devices(operator(store, NOW_S + 1), "", "canaries", "sync-now", {}, 60.0)
        assert [row.device for row in together(store, first.number + 1)] == ["pump-3", "pump-4", "pump-5"]
        assert [row.device for row in together(store, second.number)] == ["pump-0", "pump-3"]
        with pytest.raises(UnknownNameError, match="no command 99 is kept"):
            together(store, 99)


def test_the_same_asked_twice_in_one_moment_by_one_person_is_two_acts(store: SqlStore) -> None:
    with store.transaction():
        first = command_devices(operator(store), "", "busy", "sync-now", {}, 60.0)
        second = command_devices(operator(store), "", "canaries", "sync-now", {}, 60.0)
        alone = ask(store, "pump-3", "sync-now", {}, "user:olga", NOW_S, 60.0)
        assert [row.number for row in together(store, first.number + 1)] == [1, 2, 3]
        assert [row.number for row in together(store, second.number)] == [4, 5]
        assert together(store, alone.number) == [alone]


def test_acts_of_a_release_that_kept_none_are_known_by_what_they_share(store: SqlStore) -> None:
    with store.transaction():
        command_devices(operator(store), "", "busy", "sync-now", {}, 60.0)
        store.rows(ASKED_WITH).remove()
        command_devices(operator(store), "", "canaries", "sync-now", {}, 60.0)
        assert [row.number for row in together(store, 2)] == [1, 2, 3]
        assert [row.number for row in together(store, 4)] == [4, 5]


def test_of_a_command_that_is_kept_no_longer_its_act_is_not_either() -> None:
    fleet = Fleet()
    know(fleet, "a")
    for number in range(ENDED_MAX + 5):
        with fleet.store.transaction():
            ask(fleet.store, "a", "sync-now", {}, "local:op", fleet.instant.wall_s, 1.0 + number)
    fleet.pass_time(1e6)
    fleet.pass_time(1.0)
    with fleet.store.transaction():
        commands = {row.id for row in fleet.store.rows(DEVICE_COMMANDS).all("a")}
        assert len(commands) == ENDED_MAX
        assert {row.id for row in fleet.store.rows(ASKED_WITH).all("a")} == commands
        fleet.store.request_removal("a", 1.0)
    fleet.pass_time(60.0)
    with fleet.store.transaction():
        assert fleet.store.rows(ASKED_WITH).all() == []


def test_the_service_sends_many_in_turns_and_the_summary_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "AT_ONCE_MAX", 4)
    fleet, names = Fleet(), [f"d{number}" for number in range(10)]
    for name in names:
        know(fleet, name)
        tell(fleet, name)
    with fleet.store.transaction():
        told = command_devices(
            Operator(fleet.store, "user:olga", fleet.instant.wall_s), 'device contains "d"', "", "sync-now", {}, 60.0
        )
    sent = [sum(len(lists(effects, name)) for name in names) for effects in (fleet.pass_time(1.0) for _ in range(4))]
    assert sent == [4, 4, 2, 0]
    with fleet.store.transaction():
        rows = together(fleet.store, told.number)
    for row in rows[:3]:
        tell(fleet, row.device, CommandResult(row.id, "done", {"counter": 1}, 1.0))
    tell(fleet, rows[3].device, CommandResult(rows[3].id, "failed", {"problem": "no disk"}, 1.0))
    for _ in range(4):
        fleet.pass_time(61.0)
    with fleet.store.transaction():
        summary = command_summary(fleet.store, told.number)
    assert summary.states == {"done": 3, "expired": 6, "failed": 1}
    assert [each.problem for each in summary.problems if each.device == rows[3].device] == ["no disk"]


def test_nothing_is_looked_through_while_nothing_can_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet()
    know(fleet, "a")
    with fleet.store.transaction():
        ask(fleet.store, "a", "sync-now", {}, "local:op", fleet.instant.wall_s, 60.0)
    fleet.pass_time(1.0)
    looked: list[object] = []
    monkeypatch.setattr(sending, "OPEN", Counted(sending.OPEN, looked))
    for _ in range(5):
        fleet.pass_time(1.0)
    assert looked == []
    tell(fleet, "a", names=("sync-now",))
    assert [len(ids) for ids in lists(fleet.pass_time(1.0))] == [1], "it has said what it takes"
    assert lists(fleet.pass_time(60.0)) == [[]], "its deadline has come"


class Counted(tuple[str, ...]):
    """States that note each look through them."""

    def __new__(cls, states: tuple[str, ...], looked: list[object]) -> Counted:
        made = super().__new__(cls, states)
        made._looked = looked
        return made

    def __iter__(self):  # type: ignore[no-untyped-def]
        self._looked.append(None)
        return super().__iter__()


def test_the_command_line_asks_many_and_shows_what_came_of_it(
    store: SqlStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.close()
    place = ["--state-dir", str(tmp_path)]
    assert main(["command", "--group", "canaries", "sync-now", "--expires", "24h", *place]) == 0
    assert capsys.readouterr().out == ("asked 2 devices to sync-now; `edge-fleet commands --with 1` shows the rest\n")
    assert main(["command", "--filter", "labels < 15", "diagnostics", "--wait-s", "0.01", *place]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("asked 1 device to diagnostics")
    assert said[1:] == [
        "not asked: 1 device", "  pump-1: pump-1 knows no command 'diagnostics'; it can do: sync-now",
        "asked: 1 of 1 device",
    ]  # fmt: skip
    assert main(["commands", "--with", "2", *place]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("sync-now, asked by local:")
    assert said[1:] == ["asked: 2 of 2 devices"]
    assert main(["commands", "--with", "1", "--json", *place]) == 0
    assert [row["device"] for row in json.loads(capsys.readouterr().out)] == ["pump-0", "pump-3"]
    assert main(["command", "--filter", "labels < 15", "--json", "sync-now", *place]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["devices"], told["refused"], told["states"]) == (2, 0, {"asked": 2})
    for words, problem in (
        (["command", "sync-now"], "give DEVICE and COMMAND"),
        (["commands"], "give either DEVICE or --with"),
        (["commands", "pump-1", "--with", "1"], "give either DEVICE or --with"),
        (["command", "--filter", 'device == "pump-1"', "diagnostics"], "none of 1 devices can be asked"),
    ):
        assert main([*words, *place]) == 2
        assert problem in capsys.readouterr().err
