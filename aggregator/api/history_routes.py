"""What has happened: the fleet at a glance, feature spaces, heads, refusals, events, days and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.history_models import AuditCheck, AuditPage, FleetOverview, NumberedEvent
from aggregator.api.models import NAME_OR_NONE_PATTERN, SHA256_PATTERN, Asked, HeadWanted
from aggregator.audit import problems
from aggregator.operations import Caller, Operator
from aggregator.registry import overview
from aggregator.store import EventQuery, RefusalRow
from headway.errors import ConfigError

PAGE_MAX = 1000
# a device has up to 401 days
DAYS_DEVICES_MAX = 100
Number = Annotated[int | None, Query(ge=0, le=2**53)]
Space = Annotated[str, Path(pattern=SHA256_PATTERN)]
Version = Annotated[int, Query(ge=1, le=2**53)]
PageSize = Annotated[int, Query(ge=1, le=PAGE_MAX)]


def history_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/overview, /v1/spaces, /v1/heads, /v1/refusals, /v1/events, /v1/days and everything under /v1/audit."""
    look, view = Depends(door.needs(Role.SHARE)), Depends(door.needs(Role.VIEWER))
    act = Depends(door.needs(Role.OPERATOR))

    def samples() -> operations.Samples:
        """In no transaction: bundles are read."""
        return operations.samples_kept(desk.settings.state_dir, desk.settings.bundle)

    @application.get("/v1/overview", response_model=FleetOverview)
    def show_overview(request: Request, caller: Caller = view) -> Response:
        """The fleet at a glance: counts, the devices that need somebody most, and what was heard last."""
        return desk.read(
            request, caller, lambda operator: operations.plain_overview(overview(operator.store, operator.now_s))
        )

    @application.get("/v1/spaces", response_model=list[operations.SpaceView])
    def list_spaces(request: Request, caller: Caller = look) -> Response:
        """The feature spaces that are served side by side, and the newest head of each."""
        return desk.read(request, caller, lambda operator: operations.list_spaces(operator.store))

    @application.post("/v1/spaces/{space}/held-head", status_code=202, response_model=Asked)
    def hold_head(
        request: Request, space: Space, wanted: HeadWanted, caller: Caller = act
    ) -> Response:  # fmt: skip
        """Go back to an earlier head: the running service publishes it again, and no newer one until it is let go."""

        def do(operator: Operator) -> Asked:
            if wanted.version:
                operations.hold_head(operator, space, wanted.version)
            else:
                operations.let_go(operator, space)
            return Asked(asked="hold-head" if wanted.version else "let-head-go", subject=space)

        return desk.act(request, caller, do, asked=wanted, status=202)

    @application.get("/v1/heads", response_model=list[operations.HeadView])
    def list_heads(request: Request, caller: Caller = look) -> Response:
        """The head that the fleet was told last; none before the first."""

        def asked(operator: Operator) -> list[operations.HeadView]:
            head = operations.published_head(operator.store)
            return [] if head is None else [head]

        return desk.read(request, caller, asked)

    @application.get("/v1/influence", response_model=operations.InfluenceView)
    def show_influence(request: Request, caller: Caller = view) -> Response:
        """What the fleet's head loses or gains without each device, the worst first, on the bundle's own sample."""

        def asked(operator: Operator) -> operations.InfluenceView:
            bundle = operations.served_bundle(desk.settings.state_dir, desk.settings.bundle)
            return operations.influence_view(operator.store, bundle, desk.settings.policy)

        return desk.read(request, caller, asked)

    @application.get("/v1/privacy", response_model=list[operations.PrivacyView])
    def list_privacy(request: Request, caller: Caller = view) -> Response:
        """What heads wait for, and what is spent of the privacy budget, of each feature space."""
        policy = desk.settings.policy
        return desk.read(request, caller, lambda operator: operations.privacy_views(operator.store, policy))

    @application.get("/v1/heads/field", response_model=list[operations.FieldView])
    def list_fields(request: Request, caller: Caller = look) -> Response:
        """How often devices are right with what they serve, and with their frozen heads, of each feature space."""
        return desk.read(request, caller, lambda operator: operations.fields_now(operator.store))

    @application.get("/v1/spaces/{space}/heads", response_model=list[operations.HeadVersion])
    def list_head_versions(request: Request, space: Space, caller: Caller = look) -> Response:
        """Every head of a feature space that is kept, the newest first: what it learned, and what it is worth."""
        found = samples()
        return desk.read(request, caller, lambda operator: operations.head_versions(operator.store, space, found))

    @application.get("/v1/spaces/{space}/heads/compared", response_model=operations.ComparedHeads)
    def compare_heads(
        request: Request, space: Space, first: Version, second: Version, caller: Caller = look
    ) -> Response:  # fmt: skip
        """Two heads of a feature space beside each other, on the bundle's own sample and in the field."""
        found = samples()
        return desk.read(
            request, caller, lambda operator: operations.compare_heads(operator.store, space, first, second, found)
        )  # fmt: skip

    @application.get("/v1/refusals", response_model=list[RefusalRow])
    def list_refusals(request: Request, caller: Caller = view) -> Response:
        """How often messages of each device were refused, and why; device '' are senders that are not in the fleet."""
        return desk.read(request, caller, lambda operator: operator.store.refusals())

    @application.get("/v1/events", response_model=list[NumberedEvent])
    def list_events(
        request: Request,
        caller: Caller = view,
        device: Annotated[str, Query(pattern=NAME_OR_NONE_PATTERN)] = "",
        name: Annotated[str, Query(max_length=256)] = "",
        before: Number = None,
        after: Number = None,
        limit: PageSize = 100,
    ) -> Response:
        """Events of devices, and of the service about them: the newest first, or with `after` the oldest first."""
        if before is not None and after is not None:
            raise ConfigError("give either before or after")
        query = EventQuery(device, name, before, after, limit)

        def asked(operator: Operator) -> object:
            return [
                operations.plain_event(row) | {"number": number} for number, row in operator.store.find_events(query)
            ]

        return desk.read(request, caller, asked)

    @application.get("/v1/days", response_model=operations.DayPage)
    def list_days(
        request: Request,
        caller: Caller = view,
        after: Annotated[str, Query(max_length=4000)] = "",
        limit: Annotated[int, Query(ge=1, le=DAYS_DEVICES_MAX)] = 20,
    ) -> Response:
        """What devices did on each day, in pages of so many devices."""
        return desk.read(request, caller, lambda operator: operations.day_page(operator, after, limit))

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
