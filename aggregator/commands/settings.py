"""Implements `edge-fleet configure` and `configuration`: settings of devices, changed from afar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aggregator.commands.done import say
from aggregator.commands.tables import aligned, print_table
from aggregator.operations import setting_value
from aggregator.reach import Fleet
from aggregator.store.rows import FLEET, GROUP
from headway.fields import readable_json
from headway.printable import printable
from headway.wire import SettingValue

HEADER = ("SETTING", "WANTED", "BY", "HOLDS", "WHY NOT")
WANTED_HEADER = ("WHOSE", "SETTINGS", "PRIORITY")


def configure(
    fleet: Fleet, scope: str, name: str, given: Sequence[str], unset: Sequence[str], priority: int | None
) -> None:
    """``edge-fleet configure``. Raises ConfigError for what no device can take."""
    after = fleet.configure(scope, name, dict(setting_value(text) for text in given), unset, priority)
    words = f"{_whose(scope, name)}: {_listed(after) or 'nothing is set from afar'}"
    say(words, scope=scope, name=name, settings={**after})


def list_wanted(fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet configuration`` without a device."""
    rows = fleet.wanted_settings()
    if in_json:
        print(readable_json(rows))
    elif rows:
        lines = []
        for row in rows:
            priority = str(row["priority"]) if row["scope"] == GROUP else "-"
            cells = (_whose(row["scope"], row["name"]), _listed(row["settings"]), priority)
            lines.append(tuple(map(printable, cells)))
        print_table(WANTED_HEADER, lines, aligned([WANTED_HEADER, *lines]), frozenset({"PRIORITY"}))
    else:
        print("no setting is changed from afar; begin with edge-fleet configure")


def show_settings(name: str, fleet: Fleet, in_json: bool) -> None:
    """``edge-fleet configuration DEVICE``. Raises ConfigError when no such device is known."""
    told = fleet.device_settings(name)
    if in_json:
        print(readable_json(told))
        return
    if told["reported"] is None:
        print(f"{name} has not told of its settings: its edge-agent is older, or has not been here since")
    else:
        print(printable(": ".join(filter(None, (name, told["state"], told["problem"])))))
    holds, reasons, wanted = told["reported"] or {}, told["refused"], told["wanted"]
    lines = []
    for key in sorted({*wanted, *holds, *reasons}):
        value, by = "-", "-"
        if key in wanted:
            one = wanted[key]
            value, by = _written(one["value"]), one["scope"] if one["scope"] != GROUP else f"group {one['name']}"
        line = (key, value, by, _written(holds[key]) if key in holds else "-", reasons.get(key, ""))
        lines.append(tuple(map(printable, line)))
    if lines:
        print_table(HEADER, lines, aligned([HEADER, *lines]), frozenset())


def _whose(scope: str, name: str) -> str:
    return "fleet" if scope == FLEET else f"{scope} {name}"


def _listed(values: Mapping[str, SettingValue]) -> str:
    return ", ".join(f"{key}={_written(value)}" for key, value in values.items())


def _written(value: SettingValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
