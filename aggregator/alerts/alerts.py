"""Opens and closes alerts: what the rules find now, against the alerts that stand.

    rules find subjects -> alerts of new ones begin, of old ones end -> an event for each that is to be told

A change of an alert and its event are rows of one transaction, that of the service's loop; who is told takes the events
from the store (`aggregator.alerts.delivery`), so that no event is lost or told under two ids. Of 10,000 devices only
names are read, for RULES_AT_ONCE rules, and only differences are written, at most CHANGES_MAX in one transaction: acks
must not wait.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum

from aggregator.alerts.hearing import Hearing
from aggregator.alerts.rules import RULE_ITSELF, Summaries, found_by, known_rules
from aggregator.alerts.silences import Silenced, end_old
from aggregator.alerts.summaries import shortened
from aggregator.clearings import Clearings
from aggregator.effects import Effect, Instant, Note
from aggregator.policy import AlertPolicy
from aggregator.store import Store
from aggregator.store.rows import ALERT_ACTS, ALERT_EVENTS, ALERTS, AlertActRow, AlertEventRow, AlertRow, AlertRuleRow
from headway.errors import ConfigError
from headway.fields import JsonValue, canonical_json
from headway.ports import Outgoing
from headway.wire import alert_topic

# under which the store counts alerts, events and acts
SERIAL, EVENTS, ACTS = "alerts_serial", "alert_events", "alert_acts_serial"
CHANGES_MAX = 100
RULES_AT_ONCE = 12
SOON_S = 1.0
RETAINED_AT_ONCE = 100
NOTES_MAX = 10


class State(StrEnum):
    """Of an alert. pending: the condition holds, not yet for as long as the rule asks."""

    PENDING = "pending"
    OPEN = "open"
    CLOSED = "closed"


class Change(StrEnum):
    """What an event tells."""

    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


def as_json(alert: AlertRow, fleet: str) -> dict[str, JsonValue]:
    """An alert as it is told and shown. Moments: seconds since 1970; null: not yet."""
    told: dict[str, JsonValue] = {
        "alert": alert.number, "fleet": fleet, "rule": alert.rule, "severity": alert.severity,
        "subject": alert.subject, "state": alert.state, "summary": alert.summary, "since_s": alert.since_s,
        "opened_s": alert.opened_s or None, "closed_s": alert.closed_s or None,
        "acknowledged_by": alert.acknowledged_by or None, "remark": alert.remark or None,
    }  # fmt: skip
    return told


def acknowledge(store: Store, number: int, who: str, remark: str, now_s: float) -> AlertRow:
    """Ask the service to note that somebody has seen an alert. In a transaction. Raises ConfigError."""
    alert = store.rows(ALERTS).get(number)
    if alert is None or alert.state != State.OPEN:
        raise ConfigError(f"there is no open alert {number}; `edge-fleet alerts` shows them")
    if alert.acknowledged_by:
        raise ConfigError(f"alert {number} was acknowledged by {alert.acknowledged_by}")
    serial = store.number(ACTS) + 1
    store.put_number(ACTS, serial)
    store.rows(ALERT_ACTS).put(AlertActRow(serial, number, who, shortened(remark), now_s))
    return alert


def events_so_far(store: Store) -> int:
    """The number of the newest event. In a transaction."""
    return store.number(EVENTS)


class Alerts:
    """The alerts of one fleet. Construct it, and call every method, inside a transaction of the store."""

    def __init__(self, fleet: str, store: Store, policy: AlertPolicy, clearings: Clearings) -> None:
        self._fleet, self._store, self._policy, self._clearings = fleet, store, policy, clearings
        self._due_at_s = float("-inf")
        self._hearing = Hearing(store)
        # by rule, then by subject: what is pending or open
        self._standing: dict[str, dict[str, AlertRow]] = {}
        for state in (State.PENDING, State.OPEN):
            for alert in store.rows(ALERTS).where(state=str(state)):
                self._standing.setdefault(alert.rule, {})[alert.subject] = alert
        self._serial, self._event_serial = store.number(SERIAL), store.number(EVENTS)
        # rules that are still to be looked at in this round, by name
        self._round: deque[str] = deque()
        # what this turn changes, written at its end all at once; None: the alert goes
        self._changed: dict[int, AlertRow | None] = {}
        self._events: list[AlertEventRow] = []
        self._retained: deque[tuple[str, str]] = deque()
        self._notes: list[Effect] = []

    def tick(self, now: Instant) -> list[Effect]:
        """Whatever the rules find, and what operators have seen."""
        self._hearing.listens(now.wall_s)
        if now.monotonic_s >= self._due_at_s:
            for act in self._store.rows(ALERT_ACTS).all(count_max=CHANGES_MAX):
                self._take(act, now)
            rules = {rule.name: rule for rule in known_rules(self._store) if rule.enabled}
            for name in [*self._standing]:
                if name not in rules:
                    self._end(self._standing[name], [*self._standing[name]], "the rule is switched off", now)
            end_old(self._store, now.wall_s)
            silenced = Silenced(self._store, now.wall_s)
            self._round = self._round or deque(rules)
            for _ in range(min(len(self._round), RULES_AT_ONCE)):
                if self._round[0] in rules:
                    self._compare(rules[self._round[0]], silenced, now)
                if self._full:
                    break
                self._round.popleft()
            for alert in [alert for alert in self._open() if not alert.told]:
                if not self._full and alert not in silenced:
                    self._open_one(alert, silenced, now)
            # what there was no room for comes with the next turn
            more = self._full or self._round
            self._due_at_s = now.monotonic_s + (SOON_S if more else self._policy.interval_s)
            self._write()
        notes, self._notes = self._notes, []
        if len(notes) > NOTES_MAX:
            notes[NOTES_MAX:] = [Note(f"{len(notes) - NOTES_MAX} more changes of alerts; see edge-fleet alerts", True)]
        return [*notes, *self._retain()]

    def disconnected(self) -> None:
        """Nobody can be heard until `connected`."""
        self._hearing.lost()

    def connected(self, now: Instant) -> None:
        """Devices can be heard."""
        self._hearing.found(now.wall_s)

    def again(self) -> None:
        """The broker may have lost what it retained."""
        self._retained = deque((a.rule, a.subject) for a in self._open() if a.told and self._policy.mqtt)

    @property
    def _full(self) -> bool:
        return len(self._changed) >= CHANGES_MAX

    def _compare(self, rule: AlertRuleRow, silenced: Silenced, now: Instant) -> None:
        standing = self._standing.setdefault(rule.name, {})
        believes = self._hearing.believes_silence(now.wall_s)
        found = found_by(self._store, rule, standing, believes, now.wall_s)
        if not found and not standing:
            return  # as nearly always
        summaries = Summaries(self._store, rule, now.wall_s)
        for subject in sorted(found.keys() - standing.keys()):
            if self._full:
                return
            self._begin(rule, subject, found[subject] or summaries.of(subject), silenced, now)
        gone = []
        for subject, alert in standing.items():
            if self._full:
                break
            if max(alert.since_s, alert.absent_s) > now.wall_s:
                # the clock was set back: what holds counts from now on
                alert = replace(alert, since_s=min(alert.since_s, now.wall_s), absent_s=min(alert.absent_s, now.wall_s))
                self._put(alert)
            if subject in found:
                if alert.state == State.PENDING and now.wall_s - alert.since_s >= rule.for_s:
                    self._open_one(alert, silenced, now)
                elif alert.absent_s:
                    self._put(replace(alert, absent_s=0.0))
            elif alert.state == State.PENDING or not rule.for_s or subject == RULE_ITSELF:
                gone.append(subject)
            elif not alert.absent_s:
                self._put(replace(alert, absent_s=now.wall_s))
            elif now.wall_s - alert.absent_s >= rule.for_s:
                gone.append(subject)
        self._end(standing, gone, "", now)

    def _begin(self, rule: AlertRuleRow, subject: str, summary: str, silenced: Silenced, now: Instant) -> None:
        self._serial += 1
        oldest = self._serial - self._policy.kept_max
        old = self._store.rows(ALERTS).get(oldest) if oldest > 0 else None
        if old is not None and old.state == State.CLOSED:
            self._changed[old.number] = None
        alert = AlertRow(
            self._serial, rule.name, subject, rule.severity, str(State.PENDING), shortened(summary), now.wall_s, 0.0,
            0.0, 0.0, False, "", "", 0.0
        )  # fmt: skip
        if rule.for_s and subject != RULE_ITSELF:
            self._put(alert)
        else:
            self._open_one(alert, silenced, now)

    def _open_one(self, alert: AlertRow, silenced: Silenced, now: Instant) -> None:
        """From here on it is open; told at once, or when no silence covers it any more."""
        opened_s = alert.opened_s or now.wall_s
        opened = replace(alert, state=str(State.OPEN), opened_s=opened_s, told=alert not in silenced)
        self._put(opened)
        if opened.told:
            self._add_event(opened, Change.OPENED, now)

    def _end(self, standing: dict[str, AlertRow], subjects: list[str], why: str, now: Instant) -> None:
        """Pending alerts go without a trace; open ones are told when their opening was."""
        for subject in subjects:
            if self._full:
                return
            alert = standing.pop(subject)
            closed = replace(alert, state=str(State.CLOSED), closed_s=now.wall_s, absent_s=0.0)
            closed = replace(closed, summary=why) if why else closed
            forgotten = alert.state == State.PENDING or alert.number <= self._serial - self._policy.kept_max
            self._changed[alert.number] = None if forgotten else closed
            if alert.told:
                self._add_event(closed, Change.CLOSED, now)
                if self._policy.mqtt:
                    self._clearings.add_topic(alert_topic(self._fleet, alert.rule, alert.subject))

    def _take(self, act: AlertActRow, now: Instant) -> None:
        self._store.rows(ALERT_ACTS).remove(act.number)
        kept = self._store.rows(ALERTS).get(act.alert)
        alert = None if kept is None else self._standing.get(kept.rule, {}).get(kept.subject)
        if alert is None or alert.number != act.alert or alert.state != State.OPEN or alert.acknowledged_by:
            return  # it is over, or somebody else was first, since it was asked for
        seen = replace(alert, acknowledged_by=act.who, remark=act.remark, acknowledged_s=act.at_s)
        self._put(seen)
        if alert.told:
            self._add_event(seen, Change.ACKNOWLEDGED, now)

    def _add_event(self, alert: AlertRow, change: Change, now: Instant) -> None:
        """Written with the change of the alert: one is not there without the other."""
        self._event_serial += 1
        body = canonical_json(as_json(alert, self._fleet)).decode()
        # a store that was restored from a backup counts on from an earlier number: that alone would name two events
        named = canonical_json([self._fleet, self._event_serial, str(change), now.wall_s, body])
        name = hashlib.sha256(named).hexdigest()[:32]
        self._events.append(AlertEventRow(self._event_serial, name, str(change), body, now.wall_s))
        text = f"alert {alert.number} {change}: {alert.severity} {alert.rule}: {alert.subject}: {alert.summary}"
        self._notes.append(Note(shortened(text), warning=change is Change.OPENED))
        if self._policy.mqtt and change is not Change.CLOSED:
            self._retained.append((alert.rule, alert.subject))

    def _write(self) -> None:
        rows, events = self._store.rows(ALERTS), self._store.rows(ALERT_EVENTS)
        rows.put_all([alert for alert in self._changed.values() if alert is not None])
        for number in [number for number, alert in self._changed.items() if alert is None]:
            rows.remove(number)
        events.put_all(self._events)
        for event in self._events:
            if event.number > self._policy.kept_max:
                events.remove(event.number - self._policy.kept_max)
        if self._changed:
            self._store.put_number(SERIAL, self._serial)
            self._store.put_number(EVENTS, self._event_serial)
        self._changed.clear()
        self._events.clear()

    def _retain(self) -> Iterator[Outgoing]:
        """Some of what the broker is to retain: all of it at once could fill the connection's window."""
        for _ in range(min(len(self._retained), RETAINED_AT_ONCE)):
            rule, subject = self._retained.popleft()
            alert = self._standing.get(rule, {}).get(subject)
            if alert is None or not alert.told:
                continue  # it is over
            name = alert_topic(self._fleet, alert.rule, alert.subject)
            self._clearings.forget([name])
            yield Outgoing(name, canonical_json(as_json(alert, self._fleet)), retain=True)

    def _open(self) -> Iterator[AlertRow]:
        for standing in self._standing.values():
            yield from (alert for alert in standing.values() if alert.state == State.OPEN)

    def _put(self, alert: AlertRow) -> None:
        self._standing.setdefault(alert.rule, {})[alert.subject] = alert
        self._changed[alert.number] = alert
