"""``/devices/NAME``: looking at a device."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Path, Request, Response

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.operations import list_commands
from aggregator.page.device.acts import device_acts
from aggregator.page.device.asked import BUTTONS, diagnostics_file
from aggregator.page.device.reading import DeviceShown, device_shown
from aggregator.page.frame import Frame
from aggregator.page.headers import NEVER_KEPT
from aggregator.page.visitors import Visitor

DeviceName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Part = Literal["windows", "commands", "events"]
CommandId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]


def device_routes(application: FastAPI, frame: Frame) -> None:
    """/devices."""
    look, view = Depends(frame.visitor(Role.SHARE)), Depends(frame.visitor(Role.VIEWER))

    def shown(request: Request, visitor: Visitor, device: str, template: str, saying: str = "") -> Response:
        found: DeviceShown = frame.read(
            visitor, lambda operator: device_shown(operator, device, visitor.may(Role.VIEWER))
        )
        return frame.show(
            request, visitor, template, place="fleet", shown=found, row=found.full.view.row, view=found.full.view,
            inner=found.inner, buttons=BUTTONS, saying=saying,
        )  # fmt: skip

    @application.get("/devices/{device}")
    def show_device(request: Request, device: DeviceName, visitor: Visitor = look, said: str = "") -> Response:
        return shown(request, visitor, device, "device.html.j2", said)

    @application.get("/devices/{device}/parts/states")
    def show_states(request: Request, device: DeviceName, visitor: Visitor = look) -> Response:
        return shown(request, visitor, device, "device_states.html.j2")

    @application.get("/devices/{device}/parts/{part}")
    def show_part(request: Request, device: DeviceName, part: Part, visitor: Visitor = view) -> Response:
        return shown(request, visitor, device, f"device_{part}.html.j2")

    @application.get("/devices/{device}/diagnostics/{command}")
    def download_diagnostics(device: DeviceName, command: CommandId, visitor: Visitor = view) -> Response:
        rows = frame.read(visitor, lambda operator: list_commands(operator, device))
        found = diagnostics_file(rows, command)
        if found is None:
            raise Refusal(404, f"no diagnostics of {device} are kept under this command; ask for new ones")
        # names of devices and ids of commands hold nothing that a header or a file system minds
        named = {"Content-Disposition": f'attachment; filename="{device}-diagnostics-{command}.json"'}
        return Response(found, headers=NEVER_KEPT | named, media_type="application/json")

    device_acts(application, frame)
