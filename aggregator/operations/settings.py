"""Settings of devices, changed from afar: what is wanted, what holds, and why the rest does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggregator.operations.operator import Operator
from aggregator.store import Store
from aggregator.store.rows import WantedSettingsRow
from aggregator.twins import SettingsView, change_settings, settings_view, stored_values, wanted_settings
from headway.errors import ConfigError
from headway.fields import JsonValue
from headway.wire import SettingValue

WORDS: dict[str, bool] = {"true": True, "false": False}


def configure(
    operator: Operator,
    scope: str,
    name: str,
    values: Mapping[str, SettingValue],
    unset: Sequence[str],
    priority: int | None,
) -> Mapping[str, SettingValue]:
    """Change what is wanted of the fleet, a group or a device, which the running service then sends; returns what is
    wanted there from now on. Raises ConfigError for what no device can take."""
    if not values and not unset and priority is None:
        raise ConfigError("give a setting, sync.interval_s=300 for example, or --unset sync.interval_s")
    after = change_settings(operator.store, scope, name, values, unset, operator.now_s, priority)
    detail: dict[str, JsonValue] = {"set": {**values}, "unset": list(unset), "priority": priority}
    operator.did("configure", f"{scope} {name}".strip(), **detail)
    return after


def plain_wanted(store: Store) -> list[JsonValue]:
    """All that is wanted, the fleet's first, for JSON. In a transaction."""
    return [_plain(row) for row in wanted_settings(store)]


def device_settings(operator: Operator, name: str) -> SettingsView:
    """Raises UnknownNameError."""
    return settings_view(operator.store, operator.the(name), operator.now_s)


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


def _plain(row: WantedSettingsRow) -> dict[str, JsonValue]:
    return {
        "scope": row.scope,
        "name": row.name,
        "priority": row.priority,
        "settings": {**stored_values(row.settings)},
        "changed_s": row.changed_s,
    }
