"""Implements `edge-fleet alerts`, `acknowledge`, `alert-rules` and `silence`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime

from aggregator.alerts import (
    BUILT_IN,
    Severity,
    Silenced,
    State,
    acknowledge,
    add_silence,
    duration_s,
    end_silence,
    events_so_far,
    known_rules,
    put_rule,
    remove_rule,
    shortened,
    span,
)
from aggregator.audit import local_user, record
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.store import Store
from aggregator.store.rows import ALERT_CHANNELS, ALERT_RULES, ALERTS, SILENCES, AlertRow, AlertRuleRow
from headway.errors import ConfigError
from headway.fields import JsonValue
from headway.ports import Clock
from headway.printable import printable

HEADER = ("ALERT", "SEVERITY", "RULE", "SUBJECT", "STATE", "FOR", "SUMMARY")
RULE_HEADER = ("RULE", "ON", "SEVERITY", "LOOKS AT", "CONDITION", "FOR")
SILENCE_HEADER = ("SILENCE", "RULE", "DEVICE", "FILTER", "UNTIL", "BY", "REMARK")
NUMBERS = frozenset({"ALERT", "SILENCE", "FOR"})


def list_alerts(store: Store, clock: Clock, closed_too: bool, as_json: bool) -> None:
    """The open ones, or all that are kept, the newest first; on stderr, channels that do not get through."""
    now_s = clock.wall_s()
    with store.transaction():
        rows = [*store.rows(ALERTS).where(state=str(State.OPEN))]
        rows += store.rows(ALERTS).where(state=str(State.CLOSED)) if closed_too else []
        silenced = Silenced(store, now_s)
        found = [(row, silenced.by(row) is not None) for row in sorted(rows, key=lambda row: -row.number)]
        problems = channel_problems(store, now_s)
    if as_json:
        print_json_rows([{**_alert_json(row), "silenced": quiet} for row, quiet in found])
    elif found:
        lines = [_line(row, quiet, now_s) for row, quiet in found]
        print_table(HEADER, lines, aligned([HEADER, *lines]), NUMBERS)
    else:
        print("there is no alert" if closed_too else "there is no open alert")
    for problem in problems:
        print(problem, file=sys.stderr)


def channel_problems(store: Store, now_s: float) -> list[str]:
    """A line for each channel that is behind or has given up events. In a transaction."""
    lines = []
    for row in store.rows(ALERT_CHANNELS).all():
        if row.failed_s:
            waiting = events_so_far(store) - row.told
            failing = f"{row.channel} fails for {span(now_s - row.failed_s)}, {row.attempts} attempts"
            lines.append(f"{failing}, {waiting} events wait: {row.last_error}")
        if row.given_up:
            lines.append(f"{row.channel} was never told of {row.given_up} events; edge-fleet alerts --all shows them")
    return [printable(line) for line in lines]


def acknowledge_alert(store: Store, clock: Clock, number: int, remark: str) -> None:
    """Ask the running service; it does so within its interval."""
    with store.transaction():
        alert = acknowledge(store, number, local_user(), remark, clock.wall_s())
        record(store, local_user(), "acknowledge-alert", str(number), clock.wall_s(), remark=remark)
    print(printable(f"alert {number} of {alert.subject} is acknowledged"))


def list_rules(store: Store, as_json: bool) -> None:
    """Every rule by name."""
    with store.transaction():
        rules = known_rules(store)
        changed = {row.name for row in store.rows(ALERT_RULES).all()}
    if as_json:
        print_json_rows([{**asdict(rule), "built_in": rule.name in BUILT_IN} for rule in rules])
        return
    lines = []
    for rule in rules:
        name = rule.name + (" (changed)" if rule.name in changed and rule.name in BUILT_IN else "")
        condition = printable(rule.condition)
        on = "yes" if rule.enabled else "no"
        lines.append((name, on, rule.severity, rule.watches, condition, f"{rule.for_s:g} s"))
    print_table(RULE_HEADER, lines, aligned([RULE_HEADER, *lines]), NUMBERS)


def set_rule(
    store: Store,
    clock: Clock,
    name: str,
    looks_at: Mapping[str, str],
    severity: str | None,
    for_s: float | None,
    enabled: bool | None,
) -> None:
    """Make a rule, or change what is given. looks_at: condition by what it watches, one at most."""
    if len(looks_at) > 1:
        raise ConfigError("a rule looks at one thing; give one of --devices, --certificates-within and --rollouts")
    now_s = clock.wall_s()
    with store.transaction():
        known = next((rule for rule in known_rules(store) if rule.name == name), None)
        if known is None and not looks_at:
            raise ConfigError(
                f"rule {name!r} is new: say what it looks at, with --devices, --certificates-within or --rollouts"
            )
        rule = known or AlertRuleRow(name, "", "", str(Severity.WARNING), 0.0, True, now_s)
        for watches, condition in looks_at.items():
            rule = replace(rule, watches=watches, condition=condition)
        rule = replace(rule, severity=severity or rule.severity, changed_s=now_s)
        rule = replace(rule, for_s=rule.for_s if for_s is None else for_s)
        rule = replace(rule, enabled=rule.enabled if enabled is None else enabled)
        put_rule(store, rule)
        detail: dict[str, JsonValue] = {"watches": rule.watches, "condition": rule.condition, "for_s": rule.for_s}
        detail |= {"severity": rule.severity, "enabled": rule.enabled}
        record(store, local_user(), "set-alert-rule", name, now_s, **detail)
    print(f"rule {name} is {'on' if rule.enabled else 'off'}")


def forget_rule(store: Store, clock: Clock, name: str) -> None:
    """Of a built-in rule, the changes."""
    with store.transaction():
        built_in = remove_rule(store, name)
        record(store, local_user(), "remove-alert-rule", name, clock.wall_s())
    print(f"rule {name} is as built in" if built_in else f"rule {name} is forgotten")


def silence_alerts(store: Store, clock: Clock, which: tuple[str, str, str], duration: str, remark: str) -> None:
    """which: rule, device and filter; empty: any."""
    now_s = clock.wall_s()
    rule, device, wanted = which
    with store.transaction():
        row = add_silence(
            store, rule, device, wanted, now_s + duration_s(duration), local_user(), shortened(remark), now_s
        )
        detail: dict[str, JsonValue] = {"rule": rule, "device": device, "filter": wanted, "until_s": row.until_s}
        record(store, local_user(), "silence-alerts", str(row.number), now_s, **detail, remark=remark)
    print(f"silence {row.number} holds until {_moment(row.until_s)}")


def unsilence_alerts(store: Store, clock: Clock, number: int) -> None:
    """End a silence."""
    with store.transaction():
        end_silence(store, number)
        record(store, local_user(), "end-silence", str(number), clock.wall_s())
    print(f"silence {number} is over")


def list_silences(store: Store, clock: Clock, as_json: bool) -> None:
    """Those that hold now."""
    with store.transaction():
        rows = [row for row in store.rows(SILENCES).all() if row.until_s > clock.wall_s()]
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


def _alert_json(row: AlertRow) -> dict[str, JsonValue]:
    return {name: value for name, value in asdict(row).items() if name != "absent_s"}


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
