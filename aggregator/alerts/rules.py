"""The rules of alerts: the built-in ones, those of an operator, and what each finds in the store now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache

from aggregator.alerts.summaries import device_summary
from aggregator.durations import duration_s
from aggregator.filters import Condition, fields_in, where_field_is
from aggregator.heads import GateState
from aggregator.registry import resolved
from aggregator.rollouts import State as RolloutState
from aggregator.store import Store
from aggregator.store.rows import ALERT_RULES, CERTIFICATES, HEAD_GATES, ROLLOUTS, AlertRuleRow
from headway.errors import ConfigError
from headway.fields import nearest
from headway.wire import checked_name

RULES_MAX = 100
# conditions of rules that have been read
STATES_KEPT = 2 * RULES_MAX
FOR_MAX_S = 30 * 86_400.0
# in the place of a subject: the rule itself cannot be used
RULE_ITSELF = "_rule"
# in the place of a device: the head of the whole fleet
FLEET_HEAD = "fleet-head"


class Watches(StrEnum):
    """What a rule looks at, and with that what its condition is.

    devices: a filter over devices. certificates: a duration within which a device's newest certificate expires.
    rollouts: states of the newest rollout, separated by commas. heads: states of the gate of the fleet's heads.
    """

    DEVICES = "devices"
    CERTIFICATES = "certificates"
    ROLLOUTS = "rollouts"
    HEADS = "heads"


class Severity(StrEnum):
    """How soon somebody should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


def _built_in(name: str, watches: Watches, condition: str, severity: Severity, for_s: float = 0.0) -> AlertRuleRow:
    return AlertRuleRow(name, str(watches), condition, str(severity), for_s, True, 0.0)


BUILT_IN = {
    rule.name: rule
    for rule in (
        _built_in("device-silent", Watches.DEVICES, "silent_for > 2h", Severity.WARNING),
        _built_in("below-frozen", Watches.DEVICES, "accuracy_gain < 0 and scored >= 100", Severity.WARNING, 600.0),
        _built_in("drift", Watches.DEVICES, "since_drift < 1h", Severity.INFO),
        _built_in("refused", Watches.DEVICES, "since_refusal < 15min", Severity.WARNING),
        _built_in("disk", Watches.DEVICES, 'disk_free < 500MB or health == "degraded"', Severity.CRITICAL, 60.0),
        _built_in("quarantined", Watches.DEVICES, "quarantined", Severity.WARNING),
        _built_in("certificate-expires", Watches.CERTIFICATES, "30d", Severity.WARNING),
        _built_in("rollout-halted", Watches.ROLLOUTS, "halted", Severity.CRITICAL),
        _built_in("head-refused", Watches.HEADS, "refused, withdrawn", Severity.WARNING),
        _built_in("rollout-waits", Watches.ROLLOUTS, "waits-for-approval, paused", Severity.INFO),
    )
}


def known_rules(store: Store) -> list[AlertRuleRow]:
    """Every rule by name, those that are switched off included; what an operator set wins over what is built in."""
    rules = BUILT_IN | {row.name: row for row in store.rows(ALERT_RULES).all()}
    return [rules[name] for name in sorted(rules)]


def put_rule(store: Store, rule: AlertRuleRow) -> None:
    """Make a rule or change one. In a transaction. Raises ConfigError: what is wrong, and the fix."""
    checked_name(rule.name, "rule")
    if not 0.0 <= rule.for_s <= FOR_MAX_S:
        raise ConfigError(f"a condition is to hold for {rule.for_s:g} s; 0 to {FOR_MAX_S:g} are taken")
    if store.rows(ALERT_RULES).get(rule.name) is None and store.rows(ALERT_RULES).count() >= RULES_MAX:
        raise ConfigError(f"there are {RULES_MAX} rules already; remove one that nobody needs")
    match rule.watches:
        case Watches.DEVICES:
            resolved(store, rule.condition)
        case Watches.CERTIFICATES:
            duration_s(rule.condition)
        case Watches.HEADS:
            _states(rule.condition, tuple(map(str, GateState)), "the gate of heads")
        case _:
            _states(rule.condition)
    store.rows(ALERT_RULES).put(rule)


def switch_rule(store: Store, name: str, enabled: bool, now_s: float) -> None:
    """Switch a rule on or off. In a transaction. Raises ConfigError where there is none."""
    put_rule(store, replace(known_rule(store, name), enabled=enabled, changed_s=now_s))


def remove_rule(store: Store, name: str) -> bool:
    """Forget what an operator set; True when a built-in rule takes its place. In a transaction. Raises ConfigError."""
    known_rule(store, name)
    if not store.rows(ALERT_RULES).remove(name):
        raise ConfigError(f"rule {name!r} is built in; switch it off: edge-fleet alert-rules set {name} --off")
    return name in BUILT_IN


def known_rule(store: Store, name: str) -> AlertRuleRow:
    """Raises ConfigError where there is none."""
    rules = {rule.name: rule for rule in known_rules(store)}
    if name not in rules:
        raise ConfigError(f"there is no rule {name!r}{nearest(name, tuple(rules))}")
    return rules[name]


def found_by(
    store: Store, rule: AlertRuleRow, standing: Collection[str], believes_silence: bool, now_s: float
) -> dict[str, str]:
    """Subjects for which a rule's condition holds, with a summary, or '' where `Summaries` has it.

    standing: the subjects that it has alerts of; they stay as they are while the rule cannot be used, which is an alert
    of its own. believes_silence: False finds nobody new whom only ``silent_for`` would tell of. now_s: wall clock. In a
    transaction.
    """
    try:
        match rule.watches:
            case Watches.DEVICES:
                condition = resolved(store, rule.condition)
                found = _meeting(store, condition, now_s)
                if believes_silence or not any(field.name == "silent_for" for field in fields_in(condition)):
                    return dict.fromkeys(found, "")
                # a device may have spoken all the while: it is new where it would be found even so
                anyhow = _meeting(store, where_field_is(condition, "silent_for", 0.0), now_s)
                return dict.fromkeys(found & (anyhow | set(standing)), "")
            case Watches.CERTIFICATES:
                return _expiring(store, now_s + duration_s(rule.condition))
            case Watches.HEADS:
                states = _states(rule.condition, tuple(map(str, GateState)), "the gate of heads")
                return _gates(store, states)
            case _:
                return _rollouts(store, _states(rule.condition))
    except ConfigError as error:
        # a group that it speaks of was deleted, or a later release wrote it
        return dict.fromkeys(standing, "") | {RULE_ITSELF: f"the rule cannot be used: {error}"}


class Summaries:
    """Why a rule found devices, in one transaction. now_s: wall clock."""

    def __init__(self, store: Store, rule: AlertRuleRow, now_s: float) -> None:
        self._store, self._rule, self._now_s = store, rule, now_s
        self._condition: Condition | None = None

    def of(self, device: str) -> str:
        """One line."""
        self._condition = self._condition or resolved(self._store, self._rule.condition)
        return device_summary(self._store, self._condition, device, self._now_s)


def _meeting(store: Store, condition: Condition, now_s: float) -> set[str]:
    return {str(row[0]) for row in store.registry.columns(("device",), condition, now_s)}


def _expiring(store: Store, before_s: float) -> dict[str, str]:
    """Devices of the fleet whose newest certificate that is not revoked expires before then."""
    newest = store.rows(CERTIFICATES).greatest("expires_s", per="device", revoked_s=0.0)
    soon = {str(device): float(at) for device, at in newest.items() if float(at) < before_s}
    return {
        device: f"its certificate expires on {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
        for device, at in soon.items()
        if store.registry.get(device) is not None
    }


def _rollouts(store: Store, states: tuple[str, ...]) -> dict[str, str]:
    """The newest rollout, where it is in one of these states."""
    newest = max(store.rows(ROLLOUTS).all(), key=lambda row: row.number, default=None)
    if newest is None or newest.state not in states:
        return {}
    return {newest.name: f"rollout of {newest.bundle} {newest.version} is {newest.state}: {newest.why}"}


def _gates(store: Store, states: tuple[str, ...]) -> dict[str, str]:
    """The gates of feature spaces that are in one of these states."""
    found: dict[str, str] = {}
    for row in store.rows(HEAD_GATES).all():
        if row.state in states:
            subject = FLEET_HEAD if not found else f"{FLEET_HEAD}-{row.space[:12]}"
            found[subject] = f"a head is {row.state}: {row.why}"
    return found


@lru_cache(maxsize=STATES_KEPT)
def _states(
    text: str, known: tuple[str, ...] = tuple(map(str, RolloutState)), what: str = "a rollout"
) -> tuple[str, ...]:
    states = tuple(part.strip() for part in text.split(","))
    for state in states:
        if state not in known:
            raise ConfigError(f"{state!r} is no state of {what}{nearest(state, known)}")
    return states
