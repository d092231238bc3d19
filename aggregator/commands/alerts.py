"""Implements `edge-fleet alerts`, `acknowledge`, `alert-rules` and `silence`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import cast

from aggregator.alerts import (
    State,
    span,
)
from aggregator.commands.done import say
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import SilenceWanted, plain_alert
from aggregator.reach import Fleet
from aggregator.store.rows import AlertRow
from headway.fields import JsonValue
from headway.ports import Clock
from headway.printable import printable

HEADER = ("ALERT", "SEVERITY", "RULE", "SUBJECT", "STATE", "FOR", "SUMMARY")
RULE_HEADER = ("RULE", "ON", "SEVERITY", "LOOKS AT", "CONDITION", "FOR")
SILENCE_HEADER = ("SILENCE", "RULE", "DEVICE", "FILTER", "UNTIL", "BY", "REMARK")
NUMBERS = frozenset({"ALERT", "SILENCE", "FOR"})


def list_alerts(fleet: Fleet, clock: Clock, closed_too: bool, as_json: bool) -> None:
    """The open ones, or all that are kept, the newest first; on stderr, channels that do not get through."""
    now_s = clock.wall_s()
    found, problems = fleet.alerts(closed_too), fleet.channel_problems()
    if as_json:
        print_json_rows([plain_alert(row, quiet) for row, quiet in found])
    elif found:
        lines = [_line(row, quiet, now_s) for row, quiet in found]
        print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    else:
        print("there is no alert" if closed_too else "there is no open alert")
    for problem in problems:
        print(problem, file=sys.stderr)


def acknowledge_alert(fleet: Fleet, number: int, remark: str) -> None:
    """Ask the running service; it does so within its interval."""
    subject = fleet.acknowledge(number, remark)
    say(f"alert {number} of {subject} is acknowledged", alert=number, subject=subject)


def list_rules(fleet: Fleet, as_json: bool) -> None:
    """Every rule by name."""
    rules = fleet.alert_rules()
    if as_json:
        print_json_rows([cast("JsonValue", rule) for rule in rules])
        return
    lines = []
    for rule in rules:
        name = rule["name"] + (" (changed)" if rule["built_in"] and rule["changed_s"] else "")
        condition, on = printable(rule["condition"]), "yes" if rule["enabled"] else "no"
        lines.append((name, on, rule["severity"], rule["watches"], condition, f"{rule['for_s']:g} s"))
    print_table(RULE_HEADER, lines, aligned([RULE_HEADER, *lines]), NUMBERS)


def set_rule(
    fleet: Fleet,
    name: str,
    looks_at: Mapping[str, str],
    severity: str | None,
    for_s: float | None,
    enabled: bool | None,
) -> None:
    """Make a rule, or change what is given. looks_at: condition by what it watches, one at most."""
    is_on = fleet.set_alert_rule(name, looks_at, severity, for_s, enabled)
    say(f"rule {name} is {'on' if is_on else 'off'}", rule=name, enabled=is_on)


def forget_rule(fleet: Fleet, name: str) -> None:
    """Of a built-in rule, the changes."""
    built_in = fleet.forget_alert_rule(name)
    say(f"rule {name} is as built in" if built_in else f"rule {name} is forgotten", rule=name, built_in=built_in)


def silence_alerts(fleet: Fleet, which: tuple[str, str, str], duration: str, remark: str) -> None:
    """which: rule, device and filter; empty: any."""
    row = fleet.silence(SilenceWanted(*which, duration, remark))
    say(f"silence {row.number} holds until {_moment(row.until_s)}", silence=row.number, until_s=row.until_s)


def unsilence_alerts(fleet: Fleet, number: int) -> None:
    """End a silence."""
    fleet.end_silence(number)
    say(f"silence {number} is over", silence=number, over=True)


def list_silences(fleet: Fleet, as_json: bool) -> None:
    """Those that hold now."""
    rows = fleet.silences()
    if as_json:
        print_json_rows([asdict(row) for row in rows])
    elif rows:
        lines = []
        for row in rows:
            which = (row.rule or "-", row.device or "-", row.condition or "-")
            cells = (str(row.number), *which, _moment(row.until_s), row.who, row.remark)
            lines.append(tuple(map(printable, cells)))
        print_table(SILENCE_HEADER, lines, aligned([SILENCE_HEADER, *lines]), NUMBERS)
    else:
        print("there is no silence")


def _line(row: AlertRow, silenced: bool, now_s: float) -> tuple[str, ...]:
    state = row.state if row.state == State.CLOSED else "silenced" if silenced else row.state
    state = "acknowledged" if row.acknowledged_by and row.state == State.OPEN else state
    open_for = span((row.closed_s or now_s) - row.opened_s)
    seen = f" ({row.acknowledged_by}: {row.remark})" if row.acknowledged_by else ""
    cells = (str(row.number), row.severity, row.rule, row.subject, state, open_for, row.summary + seen)
    return tuple(map(printable, cells))


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
