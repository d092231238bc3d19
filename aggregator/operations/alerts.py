"""Alerts as people look after them: seen, silenced, and what makes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from aggregator.alerts import (
    BUILT_IN,
    Severity,
    Silenced,
    State,
    acknowledge,
    add_silence,
    end_silence,
    events_so_far,
    known_rules,
    put_rule,
    remove_rule,
    shortened,
    span,
)
from aggregator.durations import duration_s
from aggregator.operations.operator import Operator
from aggregator.store.rows import ALERT_CHANNELS, ALERTS, SILENCES, AlertRow, AlertRuleRow, SilenceRow
from headway.errors import ConfigError, UnknownNameError
from headway.fields import JsonValue, nearest
from headway.printable import printable


@dataclass(frozen=True, slots=True)
class SilenceWanted:
    """Which alerts should not be told: all of `rule`, `device` and `filter` that are given. lasts: as in ``2h``."""

    rule: str
    device: str
    filter: str
    lasts: str
    remark: str


def list_alerts(operator: Operator, closed_too: bool) -> list[tuple[AlertRow, bool]]:
    """The open ones, or all that are kept, the newest first, and whether each is silenced."""
    alerts = operator.store.rows(ALERTS)
    rows = [*alerts.where(state=str(State.OPEN)), *(alerts.where(state=str(State.CLOSED)) if closed_too else [])]
    silenced = Silenced(operator.store, operator.now_s)
    return [(row, row in silenced) for row in sorted(rows, key=lambda row: -row.number)]


def plain_alert(row: AlertRow, silenced: bool) -> dict[str, JsonValue]:
    """For JSON."""
    return {name: value for name, value in asdict(row).items() if name != "absent_s"} | {"silenced": silenced}


def channel_problems(operator: Operator) -> list[str]:
    """A line for each channel that is behind or has given up events."""
    lines = []
    for row in operator.store.rows(ALERT_CHANNELS).all():
        if row.failed_s:
            waiting = events_so_far(operator.store) - row.told
            failing = f"{row.channel} fails for {span(operator.now_s - row.failed_s)}, {row.attempts} attempts"
            lines.append(f"{failing}, {waiting} events wait: {row.last_error}")
        if row.given_up:
            lines.append(f"{row.channel} was never told of {row.given_up} events; edge-fleet alerts --all shows them")
    return [printable(line) for line in lines]


def acknowledge_alert(operator: Operator, number: int, remark: str) -> AlertRow:
    """Ask the running service; it does so within its interval. Raises UnknownNameError, ConfigError."""
    if operator.store.rows(ALERTS).get(number) is None:
        raise UnknownNameError(f"there is no open alert {number}; `edge-fleet alerts` shows them")
    alert = acknowledge(operator.store, number, operator.who, remark, operator.now_s)
    operator.did("acknowledge-alert", str(number), remark=remark)
    return alert


def list_rules(operator: Operator) -> list[AlertRuleRow]:
    """Every rule by name."""
    return known_rules(operator.store)


def plain_rule(rule: AlertRuleRow) -> dict[str, JsonValue]:
    """For JSON."""
    return asdict(rule) | {"built_in": rule.name in BUILT_IN}


def set_rule(
    operator: Operator,
    name: str,
    looks_at: Mapping[str, str],
    severity: str | None,
    for_s: float | None,
    enabled: bool | None,
) -> AlertRuleRow:
    """Make a rule, or change what is given. looks_at: condition by what it watches, one at most. Raises ConfigError."""
    if len(looks_at) > 1:
        raise ConfigError("a rule looks at one thing; give one of --devices, --certificates-within and --rollouts")
    known = next((rule for rule in known_rules(operator.store) if rule.name == name), None)
    if known is None and not looks_at:
        raise ConfigError(
            f"rule {name!r} is new: say what it looks at, with --devices, --certificates-within or --rollouts"
        )
    rule = known or AlertRuleRow(name, "", "", str(Severity.WARNING), 0.0, True, operator.now_s)
    for watches, condition in looks_at.items():
        rule = replace(rule, watches=watches, condition=condition)
    rule = replace(rule, severity=severity or rule.severity, changed_s=operator.now_s)
    rule = replace(rule, for_s=rule.for_s if for_s is None else for_s)
    rule = replace(rule, enabled=rule.enabled if enabled is None else enabled)
    put_rule(operator.store, rule)
    detail: dict[str, JsonValue] = {"watches": rule.watches, "condition": rule.condition, "for_s": rule.for_s}
    operator.did("set-alert-rule", name, **detail, severity=rule.severity, enabled=rule.enabled)
    return rule


def forget_rule(operator: Operator, name: str) -> bool:
    """Of a built-in rule, the changes: True. Raises UnknownNameError, ConfigError where there is nothing to forget."""
    names = tuple(rule.name for rule in known_rules(operator.store))
    if name not in names:
        raise UnknownNameError(f"there is no rule {name!r}{nearest(name, names)}")
    built_in = remove_rule(operator.store, name)
    operator.did("remove-alert-rule", name)
    return built_in


def silence_alerts(operator: Operator, wanted: SilenceWanted) -> SilenceRow:
    """Raises ConfigError for a rule, a filter or a time that is none."""
    until_s = operator.now_s + duration_s(wanted.lasts)
    row = add_silence(
        operator.store, wanted.rule, wanted.device, wanted.filter, until_s, operator.who, shortened(wanted.remark),
        operator.now_s,
    )  # fmt: skip
    detail: dict[str, JsonValue] = {"rule": row.rule, "device": row.device, "filter": row.condition}
    operator.did("silence-alerts", str(row.number), **detail, until_s=row.until_s, remark=wanted.remark)
    return row


def unsilence_alerts(operator: Operator, number: int) -> None:
    """End a silence. Raises UnknownNameError."""
    if operator.store.rows(SILENCES).get(number) is None:
        raise UnknownNameError(f"there is no silence {number}; `edge-fleet silence list` shows them")
    end_silence(operator.store, number)
    operator.did("end-silence", str(number))


def list_silences(operator: Operator) -> list[SilenceRow]:
    """Those that hold now."""
    return [row for row in operator.store.rows(SILENCES).all() if row.until_s > operator.now_s]
