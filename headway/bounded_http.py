"""An HTTP server with a thread for each connection and no more of them than it was told, and how loopback is served.

A browser on a device can be made to send requests by any page it shows; so a request needs a token, a Host that names
loopback, and no Origin of elsewhere.
"""

from __future__ import annotations

import hmac
import logging
import sys
import threading
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from headway.fields import canonical_json

log = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost"})
TOKEN_CHARACTERS_MIN = 16


class BoundedHTTPServer(ThreadingHTTPServer):
    """One connection more than `connections_max` is closed at once."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], connections_max: int) -> None:
        self._free = threading.BoundedSemaphore(connections_max)
        self.request_queue_size = 2 * connections_max
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away, or was ended, is no news."""
        log.debug("a connection ended with %r", sys.exception())


class LoopbackHandler(BaseHTTPRequestHandler):
    """What requests of programs on the device have in common: bounded bodies, and JSON as an answer."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "headway", ""

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: requests come often."""

    def body_size(self, size_max: int) -> int | None:
        """Of the request, in bytes; None, and refused, where it is not said or more than `size_max`."""
        said = self.headers.get("Content-Length", "")
        if said.isascii() and said.isdigit() and len(said) <= len(str(size_max)) and int(said) <= size_max:
            return int(said)
        self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"give a Content-Length up to {size_max}")
        return None

    def refuse(self, status: HTTPStatus, problem: str) -> None:
        """Say why, and end the connection: what is left of the request was not read."""
        self.close_connection = True
        self.reply(status, canonical_json({"problem": problem}))

    def reply(self, status: HTTPStatus, body: bytes) -> None:
        """body: JSON."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def refusal(headers: Message, token: bytes, where: str) -> tuple[HTTPStatus, str] | None:
    """Why a request on loopback is not served, None when it is. where: what people call the place of the token."""
    host = (headers.get("Host") or "").rpartition(":")
    origin = headers.get("Origin")
    given = (headers.get("Authorization") or "").encode()
    if (host[0] or host[2]) not in LOOPBACK_NAMES:
        return HTTPStatus.MISDIRECTED_REQUEST, "Host must be localhost or 127.0.0.1"
    if origin is not None and urlsplit(origin).hostname not in LOOPBACK_NAMES:
        return HTTPStatus.FORBIDDEN, "requests of other origins are not served"
    if not hmac.compare_digest(given, b"Bearer " + token):
        return HTTPStatus.UNAUTHORIZED, f"give Authorization: Bearer TOKEN, as in {where}"
    return None
