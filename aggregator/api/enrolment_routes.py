"""Join codes, certificates, and devices that are shut out."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI, Path, Request, Response

from aggregator.access import Role
from aggregator.api.callers import Doorkeeper
from aggregator.api.desk import Desk
from aggregator.api.models import NAME_PATTERN, CodeWanted, NewCode, Revoked
from aggregator.durations import duration_s
from aggregator.operations import Caller, Operator
from aggregator.operations.enrolment import (
    CertificateView,
    new_code,
    opened,
    revoke,
)
from aggregator.operations.enrolment import list_certificates as certificates


def enrolment_routes(application: FastAPI, desk: Desk, door: Doorkeeper) -> None:
    """/v1/certificates, /v1/join-codes, and the revocation of devices."""
    view, act = Depends(door.needs(Role.VIEWER)), Depends(door.needs(Role.OPERATOR))

    @application.get("/v1/certificates", response_model=list[CertificateView])
    def list_certificates(request: Request, caller: Caller = view) -> Response:
        """Which devices have joined, and until when their certificates are good."""
        return desk.read(request, caller, lambda operator: certificates(operator.store, operator.now_s))

    @application.post("/v1/join-codes", status_code=201, response_model=NewCode)
    def create_join_code(request: Request, wanted: CodeWanted, caller: Caller = act) -> Response:
        """A code with which a device joins."""

        def do(operator: Operator) -> NewCode:
            enrolment, _ = opened(desk.settings, desk.clock, lambda: operator.store)
            lasts_s, device = duration_s(wanted.expires), wanted.device or ""
            code = new_code(
                enrolment, operator, device, wanted.groups, wanted.reusable, wanted.count_max, lasts_s
            )  # fmt: skip
            return NewCode(code=code.text, device=device, expires_s=operator.now_s + lasts_s)

        return desk.act(request, caller, do, asked=wanted, status=201, secret=True)

    @application.post("/v1/devices/{device}/revoke", response_model=Revoked)
    def revoke_device(
        request: Request, device: Annotated[str, Path(pattern=NAME_PATTERN)], caller: Caller = act
    ) -> Response:
        """Shut a lost device out, now and for good; repeated, it finishes what was interrupted."""
        with desk.stores.one() as store:
            count = revoke(device, caller.who, desk.settings, desk.clock, store)
        return desk.answer(Revoked(device=device, certificates=count))
