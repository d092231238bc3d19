"""Devices and groups: looked for, marked, taken out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import (
    NAME_PATTERN,
    Asked,
    DeviceInFull,
    DevicePage,
    FilterGroup,
    Group,
    ListChange,
    Note,
    Quarantine,
    Tagged,
    Tagging,
)
from aggregator.operations import Caller, Operator
from aggregator.registry import Request as Wanted
from aggregator.registry import as_plain

DeviceName = Annotated[str, Path(pattern=NAME_PATTERN)]
GroupName = Annotated[str, Path(pattern=NAME_PATTERN)]
PAGE_MAX = 1000


def device_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """Everything under /v1/devices, /v1/tags and /v1/groups."""
    look, act = Depends(door.needs(Role.SHARE)), Depends(door.needs(Role.OPERATOR))

    @application.get("/v1/devices", response_model=DevicePage)
    def list_devices(
        request: Request,
        caller: Caller = look,
        filter: Annotated[str, Query(max_length=4000)] = "",
        sort: Annotated[str, Query(max_length=80)] = "",
        after: Annotated[str, Query(max_length=4000)] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    ) -> Response:
        """Devices that meet a filter, in pages."""

        def asked(operator: Operator) -> object:
            page = operations.device_page(operator, Wanted(filter, sort, after, limit))
            return {"devices": [as_plain(view) for view in page.devices], "next": page.next}

        return desk.read(request, caller, asked)

    @application.get("/v1/devices/{device}", response_model=DeviceInFull)
    def show_device(
        request: Request, device: DeviceName, caller: Caller = look, days: Annotated[int, Query(ge=0, le=400)] = 7
    ) -> Response:
        """Everything about one device."""
        return desk.read(request, caller, lambda operator: operations.device_in_full(operator, device, days).plain())

    @application.get("/v1/devices/{device}/confusion", response_model=operations.ConfusionView)
    def show_confusion(request: Request, device: DeviceName, caller: Caller = look) -> Response:
        """What a device takes for what: counts of the served and of the frozen head on the same labels."""
        return desk.read(request, caller, lambda operator: operations.device_confusion(operator, device))

    @application.get("/v1/devices/{device}/heads", response_model=list[operations.HeadSpanView])
    def list_heads_of_device(request: Request, device: DeviceName, caller: Caller = look) -> Response:
        """Each time that another head began to serve on a device, and how often it was right, the oldest first."""
        return desk.read(request, caller, lambda operator: operations.heads_of(operator, device))

    @application.delete("/v1/devices/{device}", status_code=202, response_model=Asked)
    def remove_device(request: Request, device: DeviceName, caller: Caller = act) -> Response:
        """Subtract what a device contributed and forget the device."""

        def do(operator: Operator) -> Asked:
            operations.request_removal(operator, device)
            return Asked(asked="remove", subject=device)

        return desk.act(request, caller, do, status=202)

    @application.post("/v1/devices/{device}/quarantine", response_model=Asked)
    def quarantine_device(request: Request, device: DeviceName, wanted: Quarantine, caller: Caller = act) -> Response:
        """Count nothing that a device reported or will report, until it is readmitted."""

        def do(operator: Operator) -> Asked:
            operations.quarantine_device(operator, device, wanted.reason)
            return Asked(asked="quarantine", subject=device)

        return desk.act(request, caller, do, asked=wanted)

    @application.post("/v1/devices/{device}/readmit", response_model=Asked)
    def readmit_device(request: Request, device: DeviceName, caller: Caller = act) -> Response:
        """Count again what was set aside of a device."""

        def do(operator: Operator) -> Asked:
            operations.readmit_device(operator, device)
            return Asked(asked="readmit", subject=device)

        return desk.act(request, caller, do)

    def note_of(operator: Operator, device: str) -> Note:
        return Note(text=operations.device_in_full(operator, device, 0).view.note)

    @application.get("/v1/devices/{device}/note", response_model=Note)
    def show_note(request: Request, device: DeviceName, caller: Caller = look) -> Response:
        """The note on a device."""
        return desk.read(request, caller, lambda operator: note_of(operator, device))

    @application.put("/v1/devices/{device}/note", response_model=Note)
    def put_note(request: Request, device: DeviceName, note: Note, caller: Caller = act) -> Response:
        """Put a note on a device in place of the one before."""

        def do(operator: Operator) -> Note:
            operations.note_device(operator, device, note.text)
            return note

        return desk.act(request, caller, do, asked=note, present=lambda operator: note_of(operator, device))

    @application.post("/v1/tags", response_model=Tagged)
    def tag_devices(request: Request, wanted: Tagging, caller: Caller = act) -> Response:
        """Set tags of devices, or take tags away."""

        def do(operator: Operator) -> Tagged:
            return Tagged(
                devices=operations.tag_devices(operator, wanted.devices, wanted.filter, wanted.set, wanted.unset)
            )

        return desk.act(request, caller, do, asked=wanted)

    @application.get("/v1/groups", response_model=list[operations.GroupView])
    def list_groups(request: Request, caller: Caller = look) -> Response:
        """Every group."""
        return desk.read(request, caller, operations.list_groups)

    def group_of(operator: Operator, name: str) -> Group:
        view = operations.group_view(operator, name)
        return Group(
            group=view.group, kind=view.kind, devices=view.devices, filter=view.filter,
            members=operations.members_of(operator, name),
        )  # fmt: skip

    @application.get("/v1/groups/{group}", response_model=Group)
    def show_group(request: Request, group: GroupName, caller: Caller = look) -> Response:
        """One group, and who is on its list."""
        return desk.read(request, caller, lambda operator: group_of(operator, group))

    @application.put("/v1/groups/{group}", response_model=Group)
    def put_group(request: Request, group: GroupName, wanted: FilterGroup, caller: Caller = act) -> Response:
        """Save a filter under a name: a device belongs to the group while it is like that."""

        def do(operator: Operator) -> Group:
            operations.save_group(operator, group, wanted.filter)
            return group_of(operator, group)

        return desk.act(request, caller, do, asked=wanted, present=lambda operator: group_of(operator, group))

    @application.patch("/v1/groups/{group}", response_model=Group)
    def change_group(request: Request, group: GroupName, wanted: ListChange, caller: Caller = act) -> Response:
        """Make a group that is a list of devices, or change one."""

        def do(operator: Operator) -> Group:
            operations.change_list(operator, group, wanted.add, wanted.remove)
            return group_of(operator, group)

        return desk.act(request, caller, do, asked=wanted, present=lambda operator: group_of(operator, group))

    @application.delete("/v1/groups/{group}", status_code=204)
    def delete_group(request: Request, group: GroupName, caller: Caller = act) -> Response:
        """Forget a group; its devices stay."""
        return desk.act(
            request, caller, lambda operator: operations.forget_group(operator, group), status=204,
            present=lambda operator: group_of(operator, group),
        )  # fmt: skip
