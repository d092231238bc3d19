"""Declares what is kept of alerts: rules, alerts, what is to be told of them, who is told how far, silences, acts."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class AlertRuleRow:
    """A rule that an operator made, or a built-in one that he changed.

    watches, condition: what it looks at, see `aggregator.alerts.rules`. for_s: how long that must hold before an alert
    opens, and must not hold before it closes. changed_s: wall clock.
    """

    name: str
    watches: str
    condition: str
    severity: str
    for_s: float
    enabled: bool
    changed_s: float


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert. subject: the device, or the rollout. state: see `aggregator.alerts.State`.

    Moments (``_s``) are wall clock, 0: not yet. since_s: the condition holds; absent_s: it does not hold, while the
    alert is still open. told: an event says that it opened; a silenced alert is told when the silence ends.
    """

    number: int
    rule: str
    subject: str
    severity: str
    state: str
    summary: str
    since_s: float
    opened_s: float
    absent_s: float
    closed_s: float
    told: bool
    acknowledged_by: str
    remark: str
    acknowledged_s: float


@dataclass(frozen=True, slots=True)
class AlertEventRow:
    """What is told of an alert. number: from 1, without gaps. id: the same for nothing else, ever.

    change: ``opened``, ``acknowledged`` or ``closed``. body: JSON text, the alert as it then was.
    """

    number: int
    id: str
    change: str
    body: str
    at_s: float


@dataclass(frozen=True, slots=True)
class AlertActRow:
    """An operator has seen an alert; the service takes these in order."""

    number: int
    alert: int
    who: str
    remark: str
    at_s: float


@dataclass(frozen=True, slots=True)
class SilenceRow:
    """Alerts that are not told until then. rule, device, condition (a filter): those that it is about; empty: any."""

    number: int
    rule: str
    device: str
    condition: str
    until_s: float
    who: str
    remark: str
    created_s: float


@dataclass(frozen=True, slots=True)
class AlertChannelRow:
    """How far a channel is. told: number of the last event that it has; telling: of the last one of the message that is
    being sent, so that the same one is sent again after a kill. failed_s: wall clock since when that message fails, 0:
    it does not; given_up: events that were never told."""

    channel: str
    told: int
    telling: int
    attempts: int
    failed_s: float
    last_error: str
    given_up: int


ALERT_RULES = Collection("alert_rules", AlertRuleRow, ("name",))
ALERTS = Collection("alerts", AlertRow, ("number",), ("state",))
ALERT_EVENTS = Collection("alert_events", AlertEventRow, ("number",))
ALERT_ACTS = Collection("alert_acts", AlertActRow, ("number",))
SILENCES = Collection("silences", SilenceRow, ("number",))
ALERT_CHANNELS = Collection("alert_channels", AlertChannelRow, ("channel",))
