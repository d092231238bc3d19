"""Serves enrolment over HTTPS: join, renew, and the authority's certificate; nothing else of the server."""

from __future__ import annotations

import logging
from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request, Response

from aggregator.enrolment.enrolment import Enrolment, JoinRefused
from headway.errors import HeadwayError, RemoteError
from headway.fields import canonical_json
from headway.joining import (
    AUTHORITY_PATH,
    JOIN_PATH,
    MESSAGE_BYTES_MAX,
    RENEW_PATH,
    JoinAnswer,
    JoinRequest,
    RenewRequest,
)
from headway.ports import Clock

log = logging.getLogger("headway.enrolment")


def enrolment_router(enrolment: Enrolment, authority: bytes, clock: Clock) -> APIRouter:
    """The three routes, to be included in an application. authority: PEM; it is public."""
    router = APIRouter()

    @router.get(AUTHORITY_PATH)
    async def _authority() -> Response:
        """The authority's certificate, PEM."""
        return Response(authority, media_type="application/x-pem-file")

    # not in threads: one store has one transaction at a time, and signing takes less than a millisecond
    @router.post(JOIN_PATH)
    async def _join(request: Request) -> Response:
        """A device's first certificate."""
        return await _answered(request, lambda body: enrolment.join(JoinRequest.decode(body), clock.wall_s()))

    @router.post(RENEW_PATH)
    async def _renew(request: Request) -> Response:
        """A device's next certificate."""
        return await _answered(request, lambda body: enrolment.renew(RenewRequest.decode(body), clock.wall_s()))

    return router


def join_application(enrolment: Enrolment, authority: bytes, clock: Clock) -> FastAPI:
    """These routes alone: what devices reach while the rest of the server stays on loopback."""
    application = FastAPI(title="headway enrolment", docs_url=None, redoc_url=None, openapi_url=None)
    application.include_router(enrolment_router(enrolment, authority, clock))
    return application


async def _answered(request: Request, act: Callable[[bytes], JoinAnswer]) -> Response:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MESSAGE_BYTES_MAX:
            return _problem(413, f"a request has at most {MESSAGE_BYTES_MAX} bytes")
    try:
        return Response(act(bytes(body)).encode(), media_type="application/json")
    except JoinRefused as error:
        log.warning("refused: %s", error)
        return _problem(403, str(error))
    except RemoteError as error:
        return _problem(400, str(error))
    except HeadwayError as error:
        log.error("%s", error)
        return _problem(503, "the server cannot answer now; its log says why; try again later")


def _problem(status: int, detail: str) -> Response:
    """RFC 9457."""
    payload = canonical_json({"status": status, "detail": detail})
    return Response(payload, status_code=status, media_type="application/problem+json")
