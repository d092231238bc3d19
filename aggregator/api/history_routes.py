"""What has happened: heads, refusals, events and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import AuditCheck, AuditPage, Event
from aggregator.audit import problems
from aggregator.operations import Caller, Operator
from aggregator.store import RefusalRow

PAGE_MAX = 1000
PageSize = Annotated[int, Query(ge=1, le=PAGE_MAX)]


def history_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/heads, /v1/refusals, /v1/events and everything under /v1/audit."""
    look, view = Depends(door.needs(Role.SHARE)), Depends(door.needs(Role.VIEWER))

    @application.get("/v1/heads", response_model=list[operations.HeadView])
    def list_heads(request: Request, caller: Caller = look) -> Response:
        """The head that the fleet was told last; none before the first."""

        def asked(operator: Operator) -> list[operations.HeadView]:
            head = operations.published_head(operator.store)
            return [] if head is None else [head]

        return desk.read(request, caller, asked)

    @application.get("/v1/refusals", response_model=list[RefusalRow])
    def list_refusals(request: Request, caller: Caller = view) -> Response:
        """How often messages of each device were refused, and why; device '' are senders that are not in the fleet."""
        return desk.read(request, caller, lambda operator: operator.store.refusals())

    @application.get("/v1/events", response_model=list[Event])
    def list_events(request: Request, caller: Caller = view, limit: PageSize = 100) -> Response:
        """The newest events of devices, and of the service about them."""
        return desk.read(request, caller, lambda operator: operations.plain_events(operator.store.events(limit)))

    @application.get("/v1/audit", response_model=AuditPage)
    def list_audit(
        request: Request, caller: Caller = view, after: Annotated[int, Query(ge=0, le=2**53)] = 0, limit: PageSize = 100
    ) -> Response:
        """Who did what to the fleet, the oldest first."""

        def asked(operator: Operator) -> object:
            rows = operations.audit_page(operator.store, after, limit + 1)
            more = len(rows) > limit
            return {"entries": operations.plain_audit(rows[:limit]), "next": rows[limit - 1].number if more else 0}

        return desk.read(request, caller, asked)

    @application.get("/v1/audit/check", response_model=AuditCheck)
    def check_audit(request: Request, caller: Caller = view) -> Response:
        """Whether no entry was changed, added or taken away."""

        def asked(operator: Operator) -> AuditCheck:
            last = operations.last_audit(operator.store)
            count, sha256 = (0, "") if last is None else (last.number, last.sha256)
            return AuditCheck(problems=problems(operator.store)[:100], entries=count, sha256=sha256)

        return desk.read(request, caller, asked)
