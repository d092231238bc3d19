"""What people do with a device: commands, marks, settings, whether it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Path, Response

from aggregator import operations
from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.durations import duration_s, moment_s
from aggregator.operations import Operator
from aggregator.page.device.asked import BUTTONS
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.store.rows import DEVICE
from headway.fields import JsonValue

DeviceName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]

# how long a device may be away that is asked to forget a class, as of `edge-fleet forget --class`
FORGET_LASTS_S = 7 * 86_400.0


def device_acts(application: FastAPI, frame: Frame) -> None:
    """Forms below /devices/NAME."""
    act = Depends(frame.form(Role.OPERATOR))

    def do(form: Form, device: str, what: Callable[[Operator], object], said: str, place: str = "") -> Response:
        frame.act(form, what)
        return frame.done(f"/devices/{device}", said, place)

    @application.post("/devices/{device}/commands")
    def command(device: DeviceName, form: Form = act) -> Response:
        name = form.text("command")
        if name not in {button.name for button in BUTTONS}:
            raise Refusal(400, f"the page has no command {name[:40]!r}")
        arguments: dict[str, JsonValue] = {}
        if form.text("count", ""):
            arguments["count"] = _whole(form.text("count"))
        seconds = duration_s(form.text("expires", "1h"))
        return do(
            form, device, lambda operator: operations.command_device(operator, device, name, arguments, seconds),
            "asked", "commands",
        )  # fmt: skip

    @application.post("/devices/{device}/note")
    def note(device: DeviceName, form: Form = act) -> Response:
        text = form.text("text")
        return do(form, device, lambda operator: operations.note_device(operator, device, text), "noted", "marks")

    @application.post("/devices/{device}/tags")
    def tag(device: DeviceName, form: Form = act) -> Response:
        name, value = form.text("name"), form.text("value", "")
        given, unset = ({}, [name]) if form.text("act", "") == "remove" else ({name: value}, [])
        return do(
            form, device, lambda operator: operations.tag_devices(operator, [device], "", given, unset), "tagged",
            "marks",
        )  # fmt: skip

    @application.post("/devices/{device}/settings")
    def configure(device: DeviceName, form: Form = act) -> Response:
        key = form.text("key")
        if form.text("act", "") == "remove":
            return do(
                form, device, lambda operator: operations.configure(operator, DEVICE, device, {}, [key], None),
                "wanted", "settings",
            )  # fmt: skip
        named, value = operations.setting_value(f"{key}={form.text('value')}")
        return do(
            form, device, lambda operator: operations.configure(operator, DEVICE, device, {named: value}, [], None),
            "wanted", "settings",
        )  # fmt: skip

    @application.post("/devices/{device}/quarantine")
    def quarantine(device: DeviceName, form: Form = act) -> Response:
        reason = form.text("reason", "")
        return do(
            form, device, lambda operator: operations.quarantine_device(operator, device, reason), "quarantined"
        )  # fmt: skip

    @application.post("/devices/{device}/readmit")
    def readmit(device: DeviceName, form: Form = act) -> Response:
        return do(form, device, lambda operator: operations.readmit_device(operator, device), "readmitted")

    @application.post("/devices/{device}/forget")
    def forget(device: DeviceName, form: Form = act) -> Response:
        if form.text("class", ""):
            asked: dict[str, JsonValue] = {"class": form.text("class")}
            name = operations.FORGET_CLASS
            return do(
                form, device, lambda operator: operations.command_device(operator, device, name, asked, FORGET_LASTS_S),
                "class-asked", "commands",
            )  # fmt: skip
        since_s = moment_s(form.text("since"))
        return do(
            form, device, lambda operator: operations.request_forgetting(operator, device, since_s), "set-back"
        )  # fmt: skip

    @application.post("/devices/{device}/remove")
    def remove(device: DeviceName, form: Form = act) -> Response:
        if form.text("name") != device:
            raise Refusal(422, f"write the name of the device, {device}, to forget it; nothing was done")
        frame.act(form, lambda operator: operations.request_removal(operator, device))
        return frame.done("/", "removing")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise Refusal(422, f"{text[:40]!r} is no whole number") from error
