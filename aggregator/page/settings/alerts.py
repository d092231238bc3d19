"""``/settings/alerts``: what makes an alert, where it is told, and what is silenced."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request, Response

from aggregator.access import Role
from aggregator.alerts import BUILT_IN, Severity, Watches
from aggregator.api import Refusal
from aggregator.config import Settings
from aggregator.durations import duration_s
from aggregator.operations import (
    Operator,
    SilenceWanted,
    acknowledge_alert,
    channel_problems,
    forget_rule,
    list_alerts,
    list_rules,
    list_silences,
    set_rule,
    silence_alerts,
    unsilence_alerts,
)
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.settings.tabs import ALERTS, PLACE, TABS
from aggregator.page.visitors import Visitor
from aggregator.store.rows import ALERT_CHANNELS, AlertRow, AlertRuleRow, SilenceRow

ALERTS_SHOWN_MAX = 100
WATCHED = {
    Watches.DEVICES: "devices like", Watches.CERTIFICATES: "certificates that expire within",
    Watches.ROLLOUTS: "the newest rollout when it is", Watches.HEADS: "the fleet's head when it is",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Channel:
    """Where alerts are told. where: without what could be secret in an address. told: events so far."""

    name: str
    where: str
    told: int
    failing: bool


@dataclass(frozen=True, slots=True)
class AlertsShown:
    """alerts: open ones, and whether each is silenced. changed: built-in rules that somebody changed."""

    alerts: tuple[tuple[AlertRow, bool], ...]
    more: int
    rules: tuple[AlertRuleRow, ...]
    built_in: frozenset[str]
    changed: frozenset[str]
    channels: tuple[Channel, ...]
    problems: tuple[str, ...]
    silences: tuple[SilenceRow, ...]


def alerts_shown(operator: Operator, settings: Settings) -> AlertsShown:
    """Everything at once."""
    alerts, rules = list_alerts(operator, closed_too=False), list_rules(operator)
    changed = frozenset(rule.name for rule in rules if rule.name in BUILT_IN and rule != BUILT_IN[rule.name])
    return AlertsShown(
        tuple(alerts[:ALERTS_SHOWN_MAX]), max(0, len(alerts) - ALERTS_SHOWN_MAX), tuple(rules), frozenset(BUILT_IN),
        changed, _channels(operator, settings), tuple(channel_problems(operator)), tuple(list_silences(operator)),
    )  # fmt: skip


def alert_routes(application: FastAPI, frame: Frame) -> None:
    """Rules, channels and silences; an open alert may be looked after here, too."""
    view, act = Depends(frame.visitor(Role.VIEWER)), Depends(frame.form(Role.OPERATOR))
    settings = frame.desk.settings

    def shown(request: Request, visitor: Visitor, template: str, saying: str = "") -> Response:
        found = frame.read(visitor, lambda operator: alerts_shown(operator, settings))
        return frame.show(
            request, visitor, template, place=PLACE, tabs=TABS, here=ALERTS, shown=found, watched=WATCHED,
            severities=tuple(Severity), saying=saying,
        )  # fmt: skip

    @application.get(ALERTS)
    def show_alerts(request: Request, visitor: Visitor = view, said: str = "") -> Response:
        return shown(request, visitor, "settings_alerts.html.j2", said)

    @application.get("/settings/alerts/open")
    def show_open(request: Request, visitor: Visitor = view) -> Response:
        return shown(request, visitor, "settings_alerts_open.html.j2")

    @application.post("/settings/alerts/acknowledge")
    def look_after(request: Request, form: Form = act) -> Response:
        number, remark = _number(form), form.text("remark", "")
        frame.act(form, lambda operator: acknowledge_alert(operator, number, remark))
        return frame.done(ALERTS, "acknowledged")

    @application.post("/settings/rules")
    def keep_rule(request: Request, form: Form = act) -> Response:
        name, watches, condition = form.text("name"), form.text("watches", ""), form.text("condition", "")
        severity, lasts, enabled = form.text("severity", ""), form.text("for", ""), form.text("enabled", "")
        if watches and watches not in Watches.__members__.values():
            raise Refusal(422, f"a rule looks at {', '.join(Watches)}, not {watches[:40]!r}")
        if severity and severity not in Severity.__members__.values():
            raise Refusal(422, f"{severity[:40]!r} is no severity; there are {', '.join(Severity)}")
        for_s = None if not lasts else 0.0 if lasts == "0" else duration_s(lasts)
        on = None if not enabled else enabled == "on"
        looks_at = {watches: condition} if watches else {}
        frame.act(form, lambda operator: set_rule(operator, name, looks_at, severity or None, for_s, on))
        return frame.done(ALERTS, "rule")

    @application.post("/settings/rules/remove")
    def drop_rule(request: Request, form: Form = act) -> Response:
        name = form.text("name")
        frame.act(form, lambda operator: forget_rule(operator, name))
        return frame.done(ALERTS, "removed")

    @application.post("/settings/silences")
    def silence(request: Request, form: Form = act) -> Response:
        wanted = SilenceWanted(
            form.text("rule", ""), form.text("device", ""), form.text("filter", ""), form.text("lasts"),
            form.text("remark", ""),
        )  # fmt: skip
        frame.act(form, lambda operator: silence_alerts(operator, wanted))
        return frame.done(ALERTS, "silenced")

    @application.post("/settings/silences/end")
    def end(request: Request, form: Form = act) -> Response:
        number = _number(form)
        frame.act(form, lambda operator: unsilence_alerts(operator, number))
        return frame.done(ALERTS, "unsilenced")


def _channels(operator: Operator, settings: Settings) -> tuple[Channel, ...]:
    rows = {row.channel: row for row in operator.store.rows(ALERT_CHANNELS).all()}
    places = {
        "webhook": urlsplit(settings.webhook.url).hostname or "",
        "email": ", ".join(settings.email.to) if settings.email.host else "",
        "mqtt": "retained on topics of the broker" if settings.policy.alerts.mqtt else "",
    }
    return tuple(
        Channel(name, where, rows[name].told if name in rows else 0, name in rows and bool(rows[name].failed_s))
        for name, where in places.items()
    )


def _number(form: Form) -> int:
    text = form.text("number")
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Refusal(422, f"{text[:40]!r} is no number")
    return int(text)
