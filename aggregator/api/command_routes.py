"""Commands to devices, and what came of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Query, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import (
    NAME_OR_NONE_PATTERN,
    NAME_PATTERN,
    CommandPage,
    CommandsWanted,
    CommandWanted,
    DeviceCommand,
)
from aggregator.durations import duration_s
from aggregator.operations import Caller, Operator

PAGE_MAX = 1000
Number = Annotated[int, Path(ge=1, le=2**53)]


def command_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/devices/{device}/commands, and everything under /v1/commands."""
    view, act = Depends(door.needs(Role.VIEWER)), Depends(door.needs(Role.OPERATOR))

    @application.post("/v1/commands", status_code=202, response_model=operations.Commanded)
    def command_devices(request: Request, wanted: CommandsWanted, caller: Caller = act) -> Response:
        """Tell every device that meets a filter, or belongs to a group, to do something, once."""

        def do(operator: Operator) -> operations.Commanded:
            seconds = duration_s(wanted.expires)
            return operations.command_devices(
                operator, wanted.filter, wanted.group, wanted.name, wanted.arguments, seconds
            )

        return desk.act(request, caller, do, asked=wanted, status=202)

    @application.get("/v1/commands/{number}", response_model=operations.CommandSummary)
    def show_command(request: Request, number: Number, caller: Caller = view) -> Response:
        """What became of the commands that were asked for together with this one."""
        return desk.read(request, caller, lambda operator: operations.command_summary(operator.store, number))

    @application.get("/v1/commands/{number}/devices", response_model=CommandPage)
    def list_command_devices(
        request: Request,
        number: Number,
        caller: Caller = view,
        after: Annotated[str, Query(pattern=NAME_OR_NONE_PATTERN)] = "",
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    ) -> Response:
        """The same commands, by device, in pages."""

        def asked(operator: Operator) -> object:
            rows = [row for row in operations.together(operator.store, number) if row.device > after]
            page = [operations.plain_command(row) for row in rows[:limit]]
            takes = [{"takes_commands": operations.takes_commands(operator, row.device)} for row in rows[:limit]]
            more = len(rows) > limit
            return {
                "commands": [one | told for one, told in zip(page, takes, strict=True)],
                "next": rows[limit - 1].device if more else "",
            }

        return desk.read(request, caller, asked)

    @application.get("/v1/devices/{device}/commands", response_model=list[DeviceCommand])
    def list_commands(
        request: Request, device: Annotated[str, Path(pattern=NAME_PATTERN)], caller: Caller = view
    ) -> Response:
        """What was asked of a device, the oldest first, and what came of it."""

        def asked(operator: Operator) -> object:
            takes = operations.takes_commands(operator, device)
            rows = operations.list_commands(operator, device)
            return [operations.plain_command(row) | {"takes_commands": takes} for row in rows]

        return desk.read(request, caller, asked)

    @application.post("/v1/devices/{device}/commands", status_code=202, response_model=DeviceCommand)
    def command_device(
        request: Request,
        device: Annotated[str, Path(pattern=NAME_PATTERN)],
        wanted: CommandWanted,
        caller: Caller = act,
    ) -> Response:
        """Tell a device to do something, once, or after its deadline not at all."""

        def do(operator: Operator) -> object:
            seconds = duration_s(wanted.expires)
            row = operations.command_device(operator, device, wanted.name, wanted.arguments, seconds)
            return operations.plain_command(row) | {"takes_commands": operations.takes_commands(operator, device)}

        return desk.act(request, caller, do, asked=wanted, status=202)
