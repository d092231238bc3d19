"""``/settings/join``: codes with which devices join, shown once and as a picture for a phone; who has joined."""

from __future__ import annotations

import json
from dataclasses import dataclass

import segno
from fastapi import Depends, FastAPI, Request, Response

from aggregator.access import Role
from aggregator.api import Refusal
from aggregator.config import Settings
from aggregator.durations import duration_s
from aggregator.operations import Operator
from aggregator.operations.enrolment import CertificateView, list_certificates, new_code, opened
from aggregator.page.forms import Form
from aggregator.page.frame import Frame
from aggregator.page.settings.tabs import JOINING, PLACE, TABS
from aggregator.page.visitors import Visitor
from aggregator.store.rows import JOIN_CODES
from headway.errors import ConfigError

SHOWN_MAX = 100
EXPIRING_S = 30 * 86_400.0
QUIET_ZONE = 4


@dataclass(frozen=True, slots=True)
class CodeView:
    """A code, without its secret. state: ``open``, ``used`` or ``over``."""

    id: str
    device: str
    groups: tuple[str, ...]
    used: int
    count_max: int
    created_s: float
    expires_s: float
    state: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A QR code as one outline. size: of its square, in modules."""

    size: int
    outline: str


@dataclass(frozen=True, slots=True)
class NewCode:
    """What is shown once. command: to be typed on the device."""

    code: str
    device: str
    expires_s: float
    command: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class JoiningShown:
    """certificates: the newest of each device, the first to end first; good: of all that hold."""

    codes: tuple[CodeView, ...]
    certificates: tuple[CertificateView, ...]
    good: int
    ends_soon: int


def joining_shown(operator: Operator) -> JoiningShown:
    """Everything at once."""
    now_s = operator.now_s
    codes = [
        CodeView(
            row.sha256[:12], row.device, tuple(json.loads(row.groups)), row.used, row.count_max, row.created_s,
            row.expires_s, "over" if now_s >= row.expires_s else "used" if row.used >= row.count_max else "open",
        )
        for row in operator.store.rows(JOIN_CODES).all()
    ]  # fmt: skip
    newest: dict[str, CertificateView] = {}
    for view in list_certificates(operator.store, now_s):
        newest[view.device] = view
    good = [view for view in newest.values() if view.state == "good"]
    ends = sorted(newest.values(), key=lambda view: (view.state != "good", view.expires_s))
    return JoiningShown(
        tuple(sorted(codes, key=lambda code: (code.state != "open", -code.created_s))[:SHOWN_MAX]),
        tuple(ends[:SHOWN_MAX]), len(good), sum(view.expires_s - now_s < EXPIRING_S for view in good),
    )  # fmt: skip


def picture_of(text: str) -> Picture:
    """As QR code, with error correction of level M."""
    rows = [list(row) for row in segno.make(text, error="m", micro=False, boost_error=False).matrix]
    parts = []
    for y, row in enumerate(rows):
        x = 0
        while x < len(row):
            begin = x
            while x < len(row) and row[x]:
                x += 1
            if x > begin:
                parts.append(f"M{begin + QUIET_ZONE} {y + QUIET_ZONE}.5h{x - begin}")
            x += 1
    return Picture(len(rows) + 2 * QUIET_ZONE, "".join(parts))


def join_command(settings: Settings, code: str, device: str) -> str:
    """What is typed on the device. device: empty where the code is for several."""
    host = settings.enrolment.broker_host or settings.mqtt.host
    named = "" if device else " --name NAME"
    return f"sudo edge-agent join https://{host}:{settings.enrolment.port} --code {code}{named}"


def joining_routes(application: FastAPI, frame: Frame) -> None:
    """Codes are made by operators; what is shown of one afterwards lets nobody join."""
    view, act = Depends(frame.visitor(Role.VIEWER)), Depends(frame.form(Role.OPERATOR))
    desk = frame.desk

    def shown(request: Request, visitor: Visitor, made: NewCode | None = None, saying: str = "") -> Response:
        found = frame.read(visitor, joining_shown)
        return frame.show(
            request, visitor, "settings_join.html.j2", status=201 if made else 200, place=PLACE, tabs=TABS,
            here=JOINING, shown=found, made=made, saying=saying,
        )  # fmt: skip

    @application.get(JOINING)
    def show_joining(request: Request, visitor: Visitor = view, said: str = "") -> Response:
        return shown(request, visitor, saying=said)

    @application.post(JOINING)
    def make_code(request: Request, form: Form = act) -> Response:
        device, groups = form.text("device", ""), [name for name in form.text("groups", "").split(",") if name.strip()]
        count_max, lasts_s = _count(form.text("count", "1")), duration_s(form.text("expires"))
        made: list[NewCode] = []

        def do(operator: Operator) -> None:
            enrolment, _ = opened(desk.settings, desk.clock, lambda: operator.store)
            named = [group.strip() for group in groups]
            code = new_code(enrolment, operator, device, named, not device, count_max, lasts_s)
            command = join_command(desk.settings, code.text, device)
            made.append(NewCode(code.text, device, operator.now_s + lasts_s, command, picture_of(command)))

        frame.act(form, do)
        if not made:
            raise Refusal(409, "this code was made already, and is shown only once; make another one")
        return shown(request, form.visitor, made[0])


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 7:
        raise ConfigError(f"a number of devices is needed, got {text[:40]!r}")
    return int(text)
