"""``/devices/NAME``: looking at a device."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Path, Request, Response

from aggregator.access import Role
from aggregator.page.device.acts import device_acts
from aggregator.page.device.asked import BUTTONS
from aggregator.page.device.reading import DeviceShown, device_shown
from aggregator.page.frame import Frame
from aggregator.page.visitors import Visitor

DeviceName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def device_routes(application: FastAPI, frame: Frame) -> None:
    """/devices."""
    look = Depends(frame.visitor(Role.SHARE))

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

    @application.get("/devices/{device}/parts/{part}")
    def show_part(
        request: Request, device: DeviceName, part: Literal["states", "commands", "events"], visitor: Visitor = look
    ) -> Response:
        return shown(request, visitor, device, f"device_{part}.html.j2")

    device_acts(application, frame)
