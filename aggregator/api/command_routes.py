"""Commands to devices, and what came of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import NAME_PATTERN, CommandWanted, DeviceCommand
from aggregator.durations import duration_s
from aggregator.operations import Caller, Operator


def command_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/devices/{device}/commands."""
    view, act = Depends(door.needs(Role.VIEWER)), Depends(door.needs(Role.OPERATOR))

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
