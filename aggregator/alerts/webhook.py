"""Tells alerts to a web address, signed as Standard Webhooks has it (https://www.standardwebhooks.com).

The receiver checks with any library of that standard: ``webhook-signature`` is HMAC-SHA256 over
``{webhook-id}.{webhook-timestamp}.{body}``, and ``webhook-id`` is the same for each attempt at one message.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import logging
import ssl
from urllib.parse import SplitResult, urlsplit

from aggregator.alerts.channels import AlertMessage, read_secret
from aggregator.alerts.settings import WebhookSettings
from headway.deadlines import ended_after
from headway.errors import ConfigError, TransportError
from headway.ports import Clock
from headway.printable import printable

LOG = logging.getLogger("headway.aggregator.alerts")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SECRET_PREFIX = "whsec_"
SECRET_BYTES_MIN = 24
ANSWER_BYTES_MAX = 64 * 1024
ANSWER_SHOWN = 120


class Webhook:
    """Implements `aggregator.alerts.channels.Channel`. Raises ConfigError for an address or a secret that is none."""

    name, events_max, interval_s = "webhook", 50, 0.0

    def __init__(self, settings: WebhookSettings, clock: Clock) -> None:
        self._timeout_s, self._clock = settings.timeout_s, clock
        self._address = _address(settings.url)
        if settings.secret_file is None:
            LOG.warning("[webhook] has no secret_file: the other side cannot know that alerts come from here")
        if self._address.scheme == "http" and self._address.hostname not in LOOPBACK:
            LOG.warning("url of [webhook] is not https: whoever is in between reads alerts")
        self._key = b"" if settings.secret_file is None else _key(read_secret(settings.secret_file, "secret_file"))

    def send(self, message: AlertMessage) -> None:
        # the path may hold a token: only the host is ever shown
        host = self._address.hostname
        connection = self._connection()
        try:
            connection.connect()
            with ended_after(connection.sock, self._timeout_s):
                target = (self._address.path or "/") + (f"?{self._address.query}" if self._address.query else "")
                body = message.body()
                connection.request("POST", target, body, self._headers(message.id, body))
                answer = connection.getresponse()
                said = answer.read(ANSWER_BYTES_MAX)[:ANSWER_SHOWN].decode(errors="replace")
        except TimeoutError as error:
            raise TransportError(f"{host} did not answer within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"{host}: {printable(str(error) or type(error).__name__)[:200]}") from error
        finally:
            connection.close()
        if 300 <= answer.status < 400:
            raise TransportError(f"{host} answered {answer.status}: redirects are not followed; configure the new url")
        if not 200 <= answer.status < 300:
            raise TransportError(f"{host} answered {answer.status}: {printable(said)}")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=ssl.create_default_context())

    def _headers(self, name: str, body: bytes) -> dict[str, str]:
        at = str(int(self._clock.wall_s()))
        headers = {"Content-Type": "application/json", "User-Agent": "headway", "webhook-id": name}
        headers |= {"webhook-timestamp": at}
        if self._key:
            headers["webhook-signature"] = "v1," + signature(self._key, name, at, body)
        return headers


def signature(key: bytes, name: str, at: str, body: bytes) -> str:
    """HMAC-SHA256, base64, over id, timestamp (whole seconds since 1970) and body."""
    made = hmac.new(key, b".".join([name.encode(), at.encode(), body]), hashlib.sha256)
    return base64.b64encode(made.digest()).decode()


def _address(url: str) -> SplitResult:
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError as error:
        raise ConfigError(f"url of [webhook] cannot be read: {error}") from error
    if address.scheme not in ("http", "https") or not address.hostname or port == 0 or "@" in address.netloc:
        raise ConfigError("url of [webhook] must be as in https://example.org/alerts, without a user name in it")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError("url of [webhook] holds a character that no address may hold; write it with % and digits")
    return address


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < SECRET_BYTES_MIN:
        raise ConfigError(
            f"secret_file of [webhook] must hold {SECRET_PREFIX} and at least {SECRET_BYTES_MIN} bytes in base64; make "
            'one: echo "whsec_$(openssl rand -base64 32)"'
        )
    return key
