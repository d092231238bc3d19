"""Alerts: seen, silenced, and what makes one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.alert_models import Acknowledgement, Alert, Quiet, Rule, RuleWanted
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import NAME_PATTERN, Asked
from aggregator.operations import Caller, Operator
from aggregator.store.rows import SilenceRow
from headway.errors import ConfigError

Number = Annotated[int, Path(ge=0, le=2**53)]
RuleName = Annotated[str, Path(pattern=NAME_PATTERN)]


def alert_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """Everything under /v1/alerts, /v1/alert-rules and /v1/silences."""
    view, act = Depends(door.needs(Role.VIEWER)), Depends(door.needs(Role.OPERATOR))

    @application.get("/v1/alerts", response_model=list[Alert])
    def list_alerts(request: Request, caller: Caller = view, closed: Annotated[bool, Query()] = False) -> Response:
        """Open alerts, or all that are kept, the newest first."""

        def asked(operator: Operator) -> object:
            return [operations.plain_alert(row, quiet) for row, quiet in operations.list_alerts(operator, closed)]

        return desk.read(request, caller, asked)

    @application.post("/v1/alerts/{number}/acknowledge", status_code=202, response_model=Asked)
    def acknowledge_alert(request: Request, number: Number, wanted: Acknowledgement, caller: Caller = act) -> Response:
        """Say that somebody looks after an alert; the running service notes it within its interval."""

        def do(operator: Operator) -> Asked:
            alert = operations.acknowledge_alert(operator, number, wanted.remark)
            return Asked(asked="acknowledge", subject=alert.subject)

        return desk.act(request, caller, do, asked=wanted, status=202)

    @application.get("/v1/alert-rules", response_model=list[Rule])
    def list_alert_rules(request: Request, caller: Caller = view) -> Response:
        """What makes an alert."""
        return desk.read(
            request, caller, lambda operator: [operations.plain_rule(rule) for rule in operations.list_rules(operator)]
        )

    @application.patch("/v1/alert-rules/{name}", response_model=Rule)
    def change_alert_rule(request: Request, name: RuleName, wanted: RuleWanted, caller: Caller = act) -> Response:
        """Make a rule, or change what is given."""
        if (wanted.watches is None) != (wanted.condition == ""):
            raise ConfigError("give both watches and condition, or neither")
        looks_at = {} if wanted.watches is None else {str(wanted.watches): wanted.condition}
        severity = None if wanted.severity is None else str(wanted.severity)

        def do(operator: Operator) -> object:
            rule = operations.set_rule(operator, name, looks_at, severity, wanted.for_s, wanted.enabled)
            return operations.plain_rule(rule)

        return desk.act(request, caller, do, asked=wanted)

    @application.delete("/v1/alert-rules/{name}", status_code=204)
    def delete_alert_rule(request: Request, name: RuleName, caller: Caller = act) -> Response:
        """Forget a rule; of one that is built in, the changes."""

        def do(operator: Operator) -> None:
            operations.forget_rule(operator, name)

        return desk.act(request, caller, do, status=204)

    @application.get("/v1/alert-channels", response_model=list[str])
    def list_alert_problems(request: Request, caller: Caller = view) -> Response:
        """A line for each channel that cannot be told of alerts."""
        return desk.read(request, caller, operations.channel_problems)

    @application.get("/v1/silences", response_model=list[SilenceRow])
    def list_silences(request: Request, caller: Caller = view) -> Response:
        """Silences that hold now."""
        return desk.read(request, caller, operations.list_silences)

    @application.post("/v1/silences", status_code=201, response_model=SilenceRow)
    def silence_alerts(request: Request, wanted: Quiet, caller: Caller = act) -> Response:
        """Alerts that are not told for a time."""
        asked = operations.SilenceWanted(wanted.rule, wanted.device, wanted.filter, wanted.lasts, wanted.remark)
        return desk.act(
            request, caller, lambda operator: operations.silence_alerts(operator, asked), asked=wanted, status=201
        )

    @application.delete("/v1/silences/{number}", status_code=204)
    def end_silence(request: Request, number: Number, caller: Caller = act) -> Response:
        """End a silence before its time."""
        return desk.act(request, caller, lambda operator: operations.unsilence_alerts(operator, number), status=204)
