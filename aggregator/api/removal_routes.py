"""What is taken out of the fleet on request, and the records of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import Depends, FastAPI, Path, Request, Response
from pydantic import BaseModel, Field

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import NAME_PATTERN, Asked, Body
from aggregator.operations import Caller, Operator

DeviceName = Annotated[str, Path(pattern=NAME_PATTERN)]


class Forget(Body):
    """since_s: to the newest mark before this moment (Unix time in seconds)."""

    since_s: Annotated[float, Field(gt=0, le=1e12)]


class Forgetting(BaseModel):
    """waits: whether the running service has still to do it."""

    waits: bool


class Removal(BaseModel):
    """A removal that was done. record: canonical JSON; signature: Ed25519 over it, hexadecimal, empty without a key."""

    number: int
    record: str
    signature: str


def removal_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/devices/{device}/forget and /v1/removals."""
    act = Depends(door.needs(Role.OPERATOR))

    @application.post("/v1/devices/{device}/forget", status_code=202, response_model=Asked)
    def forget_device(request: Request, device: DeviceName, wanted: Forget, caller: Caller = act) -> Response:
        """Subtract what a device reported since its newest mark before a moment; it stays in the fleet."""

        def do(operator: Operator) -> Asked:
            operations.request_forgetting(operator, device, wanted.since_s)
            return Asked(asked="forget", subject=device)

        return desk.act(request, caller, do, status=202, asked=wanted)

    @application.get("/v1/devices/{device}/forget", response_model=Forgetting)
    def show_forgetting(request: Request, device: DeviceName, caller: Caller = act) -> Response:
        """Whether something is still to be forgotten of a device."""
        return desk.read(request, caller, lambda operator: Forgetting(waits=operations.forgetting(operator, device)))

    @application.get("/v1/removals", response_model=list[Removal])
    def list_removals(request: Request, caller: Caller = act) -> Response:
        """The signed records of what was taken out of the fleet, the oldest first."""
        return desk.read(request, caller, lambda operator: [asdict(row) for row in operations.list_removals(operator)])
