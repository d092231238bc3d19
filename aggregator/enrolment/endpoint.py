"""Serves enrolment over HTTPS: join, renew, and the authority's certificate; nothing else of the server."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable

from fastapi import APIRouter, FastAPI, Request, Response

from aggregator.enrolment.enrolment import Enrolment, JoinRefused
from aggregator.rates import Rates
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

# a device sends its request at once; who does not is not waited for
BODY_TIMEOUT_S = 10.0
# of one address, in a minute: a whole site joins from one, and a device that is refused seldom asks again
MINUTE_S, REQUESTS_A_MINUTE, REFUSALS_A_MINUTE = 60.0, 600, 30
# bits of an IPv6 address that one customer has for himself
IPV6_NETWORK_BITS = 64


def enrolment_router(enrolment: Enrolment, authority: bytes, clock: Clock) -> APIRouter:
    """The three routes, to be included in an application. authority: PEM; it is public."""
    router = APIRouter()
    door = _Door(clock)

    @router.get(AUTHORITY_PATH)
    async def _authority() -> Response:
        """The authority's certificate, PEM."""
        return Response(authority, media_type="application/x-pem-file")

    # not in threads: one store has one transaction at a time, and signing takes less than a millisecond
    @router.post(JOIN_PATH)
    async def _join(request: Request) -> Response:
        """A device's first certificate."""
        return await door.answer(request, lambda body: enrolment.join(JoinRequest.decode(body), clock.wall_s()))

    @router.post(RENEW_PATH)
    async def _renew(request: Request) -> Response:
        """A device's next certificate."""
        return await door.answer(request, lambda body: enrolment.renew(RenewRequest.decode(body), clock.wall_s()))

    return router


def join_application(enrolment: Enrolment, authority: bytes, clock: Clock) -> FastAPI:
    """These routes alone: what devices reach while the rest of the server stays on loopback."""
    application = FastAPI(title="headway enrolment", docs_url=None, redoc_url=None, openapi_url=None)
    application.include_router(enrolment_router(enrolment, authority, clock))
    return application


class _Door:
    """Answers requests in time, of bounded length, and not more of one address than its share."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests = Rates(REQUESTS_A_MINUTE, MINUTE_S)
        self._refusals = Rates(REFUSALS_A_MINUTE, MINUTE_S)
        self._shut_until_s: dict[str, float] = {}

    async def answer(self, request: Request, act: Callable[[bytes], JoinAnswer]) -> Response:
        """What `act` makes of the body, or a problem (RFC 9457)."""
        sender, now_s = _network(request), self._clock.monotonic_s()
        if self._is_shut(sender, now_s) or not self._requests.take(sender, now_s):
            return _problem(429, "too many requests from this address; try again in a minute")
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _body(request)
        except TimeoutError:
            return _problem(408, f"the request was not there within {BODY_TIMEOUT_S:g} seconds")
        if body is None:
            return _problem(413, f"a request has at most {MESSAGE_BYTES_MAX} bytes")
        answer = _acted(body, act)
        if answer.status_code in (400, 403) and not self._refusals.take(sender, now_s):
            self._shut(sender, now_s)
        return answer

    def _is_shut(self, sender: str, now_s: float) -> bool:
        return now_s < self._shut_until_s.get(sender, 0.0)

    def _shut(self, sender: str, now_s: float) -> None:
        self._shut_until_s = {who: until_s for who, until_s in self._shut_until_s.items() if until_s > now_s}
        self._shut_until_s[sender] = now_s + MINUTE_S
        log.warning("%s was refused %d times in a minute and is not answered for a minute", sender, REFUSALS_A_MINUTE)


async def _body(request: Request) -> bytes | None:
    """All of it; None where it is too long."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MESSAGE_BYTES_MAX:
            return None
    return bytes(body)


def _acted(body: bytes, act: Callable[[bytes], JoinAnswer]) -> Response:
    try:
        return Response(act(body).encode(), media_type="application/json")
    except JoinRefused as error:
        log.warning("refused: %s", error)
        return _problem(403, str(error))
    except RemoteError as error:
        return _problem(400, str(error))
    except HeadwayError as error:
        log.error("%s", error)
        return _problem(503, "the server cannot answer now; its log says why; try again later")


def _network(request: Request) -> str:
    """Who asks: an address, or the network that one customer has."""
    host = "" if request.client is None else request.client.host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))


def _problem(status: int, detail: str) -> Response:
    """RFC 9457."""
    payload = canonical_json({"status": status, "detail": detail})
    later = {"Retry-After": f"{MINUTE_S:.0f}"} if status in (429, 503) else {}
    return Response(payload, status_code=status, media_type="application/problem+json", headers=later)
