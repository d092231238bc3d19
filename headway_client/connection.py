"""Asks the API over HTTP: one request at a time, the token never in the clear beyond this machine, no redirects."""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

ANSWER_BYTES_MAX = 268_435_456
PROBLEM_BYTES_MAX = 65_536
PIECE_BYTES = 1 << 20
# what is downloaded is made first, which takes its time
DOWNLOAD_TIMEOUT_S = 600.0


class ApiError(Exception):
    """The API refused. status: of HTTP; detail: one line with what was wrong, the value and the fix."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{detail} (HTTP {status})")
        self.status, self.detail = status, detail


class ApiUnreachable(Exception):
    """No answer came; an act may have been done all the same: repeat it with the same key."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Another address must not be sent the token."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Connection:
    """url: such as ``https://fleet.example:8885``. ca_file: who signed its certificate, PEM; else the system's.

    Raises ValueError for a URL that is none, or that would carry the token in the clear.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 30.0, ca_file: Path | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of an API; write https://name:port")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise ValueError(f"{url!r} would carry the token in the clear; use https")
        self._base, self._token, self._timeout_s = url.rstrip("/"), token, timeout_s
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON; None without one. body: bytes, or a value for JSON. Raises ApiError, ApiUnreachable."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        url = self._base + path + (f"?{urllib.parse.urlencode(given)}" if given else "")
        sent = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **(headers or {})}
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if payload is not None:
            sent["Content-Type"] = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(url, payload, sent, method=method)
        with self._answered(), self._opener.open(request, timeout=self._timeout_s) as answer:
            received = answer.read(ANSWER_BYTES_MAX + 1)
        if len(received) > ANSWER_BYTES_MAX:
            raise ApiUnreachable(f"{self._base} answers with more than {ANSWER_BYTES_MAX} bytes")
        try:
            return json.loads(received) if received else None
        except ValueError as error:
            raise ApiUnreachable(f"{self._base} answers with what is no JSON; is it the API?") from error

    def download(self, method: str, path: str, to: BinaryIO, headers: Mapping[str, str] | None = None) -> int:
        """Write the answer's bytes into an open file, in pieces; how many there were. Raises ApiError, ApiUnreachable.

        What `to` raises passes; an answer that was cut off is `ApiUnreachable`.
        """
        sent = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        request = urllib.request.Request(self._base + path, None, sent, method=method)
        with self._answered():
            answer = self._opener.open(request, timeout=DOWNLOAD_TIMEOUT_S)
        with answer:
            received = 0
            while piece := self._piece(answer):
                to.write(piece)
                received += len(piece)
            announced = answer.headers.get("Content-Length")
        if announced is not None and int(announced) != received:
            raise ApiUnreachable(f"{self._base} sent {received} of {announced} bytes; try again")
        return received

    def _piece(self, answer: http.client.HTTPResponse) -> bytes:
        with self._answered():
            return answer.read(PIECE_BYTES)

    @contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, _detail(error.read(PROBLEM_BYTES_MAX), error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise ApiUnreachable(f"{self._base} does not answer: {getattr(error, 'reason', None) or error}") from error


def segment(value: str) -> str:
    """A part of a path."""
    return urllib.parse.quote(value, safe="")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _detail(body: bytes, reason: str) -> str:
    try:
        told = json.loads(body)
    except ValueError:
        return reason
    return str(told["detail"]) if isinstance(told, dict) and "detail" in told else reason
