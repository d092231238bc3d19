"""Settings of devices, changed from afar."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Request, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import NAME_PATTERN, DeviceSettings, Setting, SettingsChange, WantedSettings
from aggregator.operations import Caller, Operator


def settings_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/settings, and the settings of one device."""
    view, act = Depends(door.needs(Role.VIEWER)), Depends(door.needs(Role.OPERATOR))

    @application.get("/v1/settings", response_model=list[WantedSettings])
    def list_settings(request: Request, caller: Caller = view) -> Response:
        """What is wanted of the fleet, of groups and of devices."""
        return desk.read(request, caller, lambda operator: operations.plain_wanted(operator.store))

    @application.post("/v1/settings", status_code=202, response_model=dict[str, Setting])
    def change_settings(request: Request, wanted: SettingsChange, caller: Caller = act) -> Response:
        """Change settings from afar; what is wanted there from now on. A device that cannot take one says why."""

        def do(operator: Operator) -> object:
            return operations.configure(
                operator, wanted.scope, wanted.name, wanted.set, wanted.unset, wanted.priority
            )  # fmt: skip

        return desk.act(request, caller, do, asked=wanted, status=202)

    @application.get("/v1/devices/{device}/settings", response_model=DeviceSettings)
    def show_settings(
        request: Request, device: Annotated[str, Path(pattern=NAME_PATTERN)], caller: Caller = view
    ) -> Response:
        """What is wanted of a device, what holds there, and why the rest does not."""
        return desk.read(
            request, caller, lambda operator: operations.plain_settings(operations.device_settings(operator, device))
        )
