"""Who only looks at a fleet on this machine holds nobody up: the running service never waits for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aggregator.config import Settings
from aggregator.reach import Fleet, LocalFleet
from aggregator.registry import Request, put_list_group
from aggregator.remote_commands import ask
from aggregator.rollouts import default_plan
from aggregator.store import DATABASE, DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.errors import UnknownNameError
from headway.ports import SystemClock

NOW_S = 1_790_000_000.0
LOOKS: dict[str, Callable[[LocalFleet], object]] = {
    "device_page": lambda fleet: fleet.device_page(Request("labels > 5")),
    "device": lambda fleet: fleet.device("pump-1", 7),
    "refusals": lambda fleet: fleet.refusals(),
    "overview": lambda fleet: fleet.overview(),
    "events": lambda fleet: fleet.events("pump-1", "", 10),
    "events_after": lambda fleet: fleet.events_after(0, 10),
    "day_page": lambda fleet: fleet.day_page(""),
    "spaces": lambda fleet: fleet.spaces(),
    "bundle_use": lambda fleet: fleet.bundle_use(),
    "groups": lambda fleet: fleet.groups(),
    "is_removed": lambda fleet: fleet.is_removed("pump-1"),
    "is_forgotten": lambda fleet: fleet.is_forgotten("pump-1"),
    "removals": lambda fleet: fleet.removals(),
    "deliveries": lambda fleet: fleet.deliveries(),
    "forecast": lambda fleet: fleet.forecast("spring", default_plan(), 9),
    "rollouts": lambda fleet: fleet.rollouts(),
    "rollout": lambda fleet: no_rollout(fleet),
    "certificates": lambda fleet: fleet.certificates(),
    "audit": lambda fleet: fleet.audit(),
    "audit_page": lambda fleet: fleet.audit_page(0, 10),
    "audit_problems": lambda fleet: fleet.audit_problems(),
    "command_summary": lambda fleet: fleet.command_summary(1),
    "commands_with": lambda fleet: fleet.commands_with(1),
    "commands": lambda fleet: fleet.commands("pump-1"),
    "inbox": lambda fleet: fleet.inbox("", "", 10),
    "labels_wanted": lambda fleet: fleet.labels_wanted("pump-1"),
    "wanted_settings": lambda fleet: fleet.wanted_settings(),
    "device_settings": lambda fleet: fleet.device_settings("pump-1"),
    "alerts": lambda fleet: fleet.alerts(True),
    "channel_problems": lambda fleet: fleet.channel_problems(),
    "alert_rules": lambda fleet: fleet.alert_rules(),
    "silences": lambda fleet: fleet.silences(),
    "users": lambda fleet: fleet.users(),
    "tokens": lambda fleet: fleet.tokens(),
}
ACTS = {
    "hold_head", "tag", "note", "save_group", "change_list", "forget_group", "quarantine", "readmit", "remove",
    "keep_bundle", "order", "begin_rollout", "act_on_rollout", "new_code", "revoke", "command", "command_many", "label",
    "label_many", "configure", "acknowledge", "set_alert_rule", "forget_alert_rule", "silence", "end_silence",
    "put_user", "remove_user", "new_token", "revoke_token", "forget",
}  # fmt: skip


def no_rollout(fleet: LocalFleet) -> None:
    with pytest.raises(UnknownNameError):
        fleet.rollout("spring")


def no_settings() -> Settings:
    raise AssertionError("a look reads no configuration")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-1", 0.0, NOW_S))
        store.registry.put([RegistryRow("pump-1", 0.0, NOW_S)])
        put_list_group(store, "pilots", ["pump-1"], [], NOW_S)
        ask(store, "pump-1", "sync-now", {}, "test", NOW_S, 60.0)
    yield tmp_path
    store.close()


def fleet_of(store: SqlStore, folder: Path) -> LocalFleet:
    return LocalFleet(lambda: store, no_settings, lambda: folder, SystemClock())


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_takes_no_lock_that_others_wait_for(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, store = SqlStore(sqlite_url(folder)), SqlStore(sqlite_url(folder))
    fleet = fleet_of(store, folder)

    def no_lock() -> None:
        raise AssertionError(f"{name} asks for the lock of those who write")

    monkeypatch.setattr(store, "transaction", no_lock)
    with writer.transaction():
        writer.put_number("somebody", 1)
        LOOKS[name](fleet)
    store.close()
    writer.close()


def test_every_way_to_a_fleet_is_a_look_or_an_act() -> None:
    methods = {name for name, _ in inspect.getmembers(Fleet, inspect.isfunction) if not name.startswith("_")}
    assert methods == LOOKS.keys() | ACTS
    assert LOOKS.keys().isdisjoint(ACTS)


def test_devices_of_an_earlier_release_get_their_rows_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlStore(sqlite_url(folder))
    with store.transaction():
        store.put_device(DeviceRow("pump-0", 1.0, NOW_S))
    fleet, locks = fleet_of(store, folder), []
    transaction = store.transaction
    monkeypatch.setattr(store, "transaction", lambda: (locks.append(1), transaction())[1])
    for _ in range(2):
        assert [view.row.device for view in fleet.device_page(Request()).devices] == ["pump-0", "pump-1"]
    assert len(locks) == 1
    assert (folder / DATABASE).exists()
    store.close()
