"""A fleet in which every text that somebody else writes tries to become markup."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from aggregator.registry.derived import typed_row
from aggregator.store import DeviceRow, EventRow
from aggregator.store.rows import (
    ATTRIBUTE,
    DEVICE_COMMANDS,
    EVERY_EPOCH,
    NOTE,
    PROPERTIES,
    QUARANTINED,
    SETTINGS_STATES,
    SUPPORTED_COMMANDS,
    TAG,
    CommandRow,
    PropertyRow,
    QuarantineRow,
    SettingsStateRow,
    SupportedCommandsRow,
)
from headway.wire import ConfigurationState, Reported
from tests.api.fleet import NOW_S
from tests.page.fleet import PageFleet

ATTACK = (
    "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    '"onmouseover="window.pwned=1" {{7*7}}'
)
# names are checked where they come in; the page must not rely on it
NAME = '"><svg onload=window.pwned=1>'


def hostile_fleet(folder: Path) -> PageFleet:
    """``pump-1`` and a device named `NAME` with it in every column, mark, event, command and setting."""
    fleet = PageFleet(folder)
    reported = Reported(
        ATTACK, ATTACK[:60], ATTACK[:60], ATTACK[:60], ATTACK, ATTACK[:60], ATTACK, 3, ATTACK[:100], ATTACK, 1, ATTACK
    )  # fmt: skip
    with fleet.store.transaction():
        for name in ("pump-1", NAME):
            row = DeviceRow(name, NOW_S - 1000, NOW_S, True, reported=reported.encode())
            fleet.store.put_device(row)
            fleet.store.registry.put([replace(typed_row(row), refused=1, refused_problem=ATTACK, refused_s=NOW_S)])
            for family in (TAG, NOTE, ATTRIBUTE):
                fleet.store.rows(PROPERTIES).put(PropertyRow(name, family, "" if family == NOTE else ATTACK, ATTACK))
            fleet.store.rows(QUARANTINED).put(QuarantineRow(name, EVERY_EPOCH, ATTACK, NOW_S))
            fleet.store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow(name, json.dumps([ATTACK])))
            _say(fleet, name)
    return fleet


def _say(fleet: PageFleet, name: str) -> None:
    scores = {ATTACK: {"weight": 2.0, "loss": 1.0}}
    head = {"before": ATTACK, "after": ATTACK, "by": ATTACK, "scores": scores, "labels": 3}
    for event, detail in (
        ("head-changed", head),
        (ATTACK[:64], {ATTACK: ATTACK}),
        ("labels-wanted", {"ids": [ATTACK]}),
    ):
        fleet.store.add_event(EventRow(name, event, json.dumps(detail), NOW_S), 100)
    for number, (command, result) in enumerate((("diagnostics", {ATTACK: [ATTACK]}), (ATTACK, {ATTACK: ATTACK}))):
        row = CommandRow(
            name, f"{number:016x}", number, command, json.dumps({ATTACK: ATTACK}), ATTACK, NOW_S, NOW_S, "done",
            json.dumps(result), NOW_S,
        )  # fmt: skip
        fleet.store.rows(DEVICE_COMMANDS).put(row)
    state = ConfigurationState(0, "waiting", {"sync.interval_s": ATTACK[:80]}, (), {"a.b": ATTACK}, ATTACK)
    fleet.store.rows(SETTINGS_STATES).put(SettingsStateRow(name, state.encode(), NOW_S))
