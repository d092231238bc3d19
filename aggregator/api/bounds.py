"""Bounds every request before anybody looks into it: how often an address may ask, and how much it may send."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aggregator.access import ApiSettings
from aggregator.api.problems import Refusal, problem
from aggregator.rates import Rates
from headway.ports import Clock

BODY_BYTES_MAX = 1_048_576
UPLOAD_PATH = "/v1/bundles"
MINUTE_S = 60.0
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
HEADERS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"vary", b"Authorization"),
)
# status, one line, headers: to the answer
Refusing: TypeAlias = Callable[[int, str, dict[str, str]], Response]


class Bounds:
    """ASGI middleware around a whole application.

    addresses: how often each may ask, shared by applications of one process. headers: of every answer. refuse: the form
    of answers to requests that go too far.
    """

    def __init__(
        self,
        application: ASGIApp,
        settings: ApiSettings,
        clock: Clock,
        addresses: Rates,
        headers: Headers = HEADERS,
        refuse: Refusing = problem,
    ) -> None:
        self._application, self._settings, self._clock = application, settings, clock
        self._rates, self._headers, self._refuse = addresses, headers, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._headers]}
            await send(message)

        if not self._rates.take(address_of(scope, self._settings), self._clock.monotonic_s()):
            limit = self._settings.requests_per_address_minute
            refused = self._refuse(429, f"more than {limit} requests a minute from one address", {"Retry-After": "60"})
            await refused(scope, receive, send_with_headers)
            return
        most = self._settings.bundle_bytes_max if scope["path"] == UPLOAD_PATH else BODY_BYTES_MAX
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > most:
            refused = self._refuse(413, f"a request here has at most {most} bytes", {})
            await refused(scope, receive, send_with_headers)
            return
        received = 0

        async def receive_bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:  # in pieces, without saying how much it would be
                raise Refusal(413, f"a request here has at most {most} bytes")
            return message

        await self._application(scope, receive_bounded, send_with_headers)


def address_of(scope: Scope, settings: ApiSettings) -> str:
    """Who is connected, or of whom the trusted proxy that is connected says so."""
    peer = scope.get("client") or ("", 0)
    address = str(peer[0])
    if settings.trusts(address):
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                # what stands before the last one was written by others
                address = value.decode("latin-1").rpartition(",")[2].strip()[:64] or address
    return address
