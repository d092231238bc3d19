"""What waits for a person, and labels for windows whose class devices want to know."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.inbox_models import GivenAct, LabelsGiven, LabelWanted, WantedLabels
from aggregator.api.models import NAME_PATTERN
from aggregator.inbox import InboxPage
from aggregator.operations import Caller, Operator

PAGE_MAX = 1000
DeviceName = Annotated[str, Path(pattern=NAME_PATTERN)]


def inbox_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/inbox, and labels under /v1/devices/{device}."""
    view, act = Depends(door.needs(Role.VIEWER)), Depends(door.needs(Role.OPERATOR))

    @application.get("/v1/inbox", response_model=InboxPage)
    def show_inbox(
        request: Request,
        caller: Caller = view,
        kind: Annotated[str, Query(max_length=32)] = "",
        after: Annotated[str, Query(max_length=2000)] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    ) -> Response:
        """What waits for a person, the most urgent first, and how much there is of each kind."""
        return desk.read(request, caller, lambda operator: operations.show_inbox(operator, kind, after, limit))

    @application.get("/v1/devices/{device}/labels-wanted", response_model=WantedLabels)
    def list_labels_wanted(request: Request, device: DeviceName, caller: Caller = view) -> Response:
        """Windows whose class a device wants to know, the least certain first, and what was said of others."""

        def asked(operator: Operator) -> object:
            return operations.plain_wanted_labels(operations.labels_wanted(operator, device))

        return desk.read(request, caller, asked)

    @application.post("/v1/devices/{device}/labels", status_code=202, response_model=GivenAct)
    def label_window(request: Request, device: DeviceName, wanted: LabelWanted, caller: Caller = act) -> Response:
        """Say what a window was, that it was none of the classes, that nobody wants to say, or take that back.

        A label reaches the device whenever it is there, within seven days, and counts once.
        """

        def do(operator: Operator) -> object:
            row = operations.label_window(operator, device, wanted.window, wanted.act, wanted.class_name)
            return operations.plain_act(row)

        return desk.act(request, caller, do, asked=wanted, status=202)

    @application.post("/v1/devices/{device}/labels-given", status_code=202, response_model=list[GivenAct])
    def label_windows(request: Request, device: DeviceName, wanted: LabelsGiven, caller: Caller = act) -> Response:
        """Say what several windows were, all or none of them; each counts once."""

        def do(operator: Operator) -> object:
            labels = [(label.window, label.class_name) for label in wanted.labels]
            return [operations.plain_act(row) for row in operations.label_windows(operator, device, labels)]

        return desk.act(request, caller, do, asked=wanted, status=202)
