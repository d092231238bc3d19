"""Implements `edge-fleet configure` and `configuration`: settings of devices, changed from afar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggregator.audit import local_user, record
from aggregator.commands.tables import aligned, print_table
from aggregator.registry import device_view
from aggregator.store import Store
from aggregator.store.rows import DEVICE, FLEET, GROUP, WantedSettingsRow
from aggregator.twins import SettingsView, Wanted, change_settings, settings_view, stored_values, wanted_settings
from headway.errors import ConfigError
from headway.fields import JsonValue, readable_json
from headway.ports import Clock
from headway.printable import printable
from headway.wire import SettingValue, checked_name

HEADER = ("SETTING", "WANTED", "BY", "HOLDS", "WHY NOT")
WANTED_HEADER = ("WHOSE", "SETTINGS", "PRIORITY")
WORDS: dict[str, bool] = {"true": True, "false": False}


def configure(
    store: Store, clock: Clock, scope: str, name: str, given: Sequence[str], unset: Sequence[str], priority: int | None
) -> None:
    """``edge-fleet configure``. Raises ConfigError for what no device can take."""
    values = dict(setting_value(text) for text in given)
    if not values and not unset and priority is None:
        raise ConfigError("give a setting, sync.interval_s=300 for example, or --unset sync.interval_s")
    with store.transaction():
        after = change_settings(store, scope, name, values, unset, clock.wall_s(), priority)
        detail: dict[str, JsonValue] = {"set": {**values}, "unset": list(unset), "priority": priority}
        record(store, local_user(), "configure", f"{scope} {name}".strip(), clock.wall_s(), **detail)
    print(f"{_whose(scope, name)}: {_listed(after) or 'nothing is set from afar'}")


def list_wanted(store: Store, in_json: bool) -> None:
    """``edge-fleet configuration`` without a device."""
    with store.transaction():
        rows = wanted_settings(store)
    if in_json:
        print(readable_json([_plain_wanted(row) for row in rows]))
    elif rows:
        lines = [
            tuple(map(printable, (_whose(row.scope, row.name), _listed(stored_values(row.settings)), _priority(row))))
            for row in rows
        ]
        print_table(WANTED_HEADER, lines, aligned([WANTED_HEADER, *lines]), frozenset({"PRIORITY"}))
    else:
        print("no setting is changed from afar; begin with edge-fleet configure")


def show_settings(name: str, store: Store, clock: Clock, in_json: bool) -> None:
    """``edge-fleet configuration DEVICE``. Raises ConfigError when no such device is known."""
    device = checked_name(name, "device")
    with store.transaction():
        device_view(store, device)
        view = settings_view(store, device, clock.wall_s())
    if in_json:
        print(readable_json(plain_settings(view)))
        return
    state = view.state
    if state is None:
        print(f"{device} has not told of its settings: its edge-agent is older, or has not been here since")
    else:
        print(printable(": ".join(filter(None, (device, view.words, state.problem)))))
    holds: Mapping[str, SettingValue] = {} if state is None else state.values
    reasons: Mapping[str, str] = {} if state is None else state.refused
    lines = []
    for key in sorted({*view.wanted, *holds, *reasons}):
        one = view.wanted.get(key)
        wanted, by = ("-", "-") if one is None else (_written(one.value), _by(one))
        line = (key, wanted, by, _written(holds[key]) if key in holds else "-", reasons.get(key, ""))
        lines.append(tuple(map(printable, line)))
    if lines:
        print_table(HEADER, lines, aligned([HEADER, *lines]), frozenset())


def plain_settings(view: SettingsView) -> dict[str, JsonValue]:
    """Plain values, for JSON."""
    state = view.state
    return {
        "device": view.device,
        "state": view.words,
        "version": view.version,
        "wanted": {key: {"value": one.value, "scope": one.scope, "name": one.name} for key, one in view.wanted.items()},
        "reported": None if state is None else {**state.values},
        "reported_version": None if state is None else state.version,
        "from_afar": [] if state is None else [*state.remote],
        "refused": {} if state is None else {**state.refused},
        "problem": "" if state is None else state.problem,
        "differences": [
            {"key": each.key, "wanted": each.wanted, "reported": each.reported, "reason": each.reason}
            for each in view.differences
        ],
    }


def setting_value(text: str) -> tuple[str, SettingValue]:
    """``table.key=value``: true, false, a number or a text, as it would stand in the file. Raises ConfigError."""
    key, equals, written = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{text!r} sets nothing; write table.key=value, as sync.interval_s=300")
    if written in WORDS:
        return key, WORDS[written]
    for kind in (int, float):
        try:
            return key, kind(written)
        except ValueError:
            continue
    return key, written.strip('"')


def _plain_wanted(row: WantedSettingsRow) -> dict[str, JsonValue]:
    return {
        "scope": row.scope,
        "name": row.name,
        "priority": row.priority,
        "settings": {**stored_values(row.settings)},
        "changed_s": row.changed_s,
    }


def _priority(row: WantedSettingsRow) -> str:
    return str(row.priority) if row.scope == GROUP else "-"


def _by(one: Wanted) -> str:
    return one.scope if one.scope in (FLEET, DEVICE) else f"group {one.name}"


def _whose(scope: str, name: str) -> str:
    return "fleet" if scope == FLEET else f"{scope} {name}"


def _listed(values: Mapping[str, SettingValue]) -> str:
    return ", ".join(f"{key}={_written(value)}" for key, value in values.items())


def _written(value: SettingValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
