"""Puts a connection that could not be made into words: what was wrong, the value, and what to do about it."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime

from headway.mqtt.settings import MqttSettings
from headway.ports import Response

UNANSWERED = "before the broker answered; if that goes on, check port and tls, and the broker's log"
# of OpenSSL (X509_V_ERR_...)
NOT_YET_VALID, EXPIRED = 9, 10
NAME_MISMATCH = (62, 64)
# extensions that RFC 5280 demands, which Python 3.13 checks by default
STRICT_CODES = range(80, 94)


def connection_failure(error: OSError | ValueError, settings: MqttSettings, wall_s: float) -> tuple[str, Response]:
    """The line, and what to do about it. wall_s: this machine's clock."""
    if isinstance(error, ssl.SSLError):
        return _tls_failure(error, settings, wall_s)
    if isinstance(error, socket.gaierror):
        return f"this host has no known address: {error.strerror}; check host and name server", Response.RETRY
    if isinstance(error, ConnectionRefusedError):
        return f"{error.strerror}; does the broker run there? check host and port", Response.RETRY
    if isinstance(error, ConnectionError):
        return f"{error.strerror} {UNANSWERED}", Response.RETRY
    return str(error), Response.RETRY


def _tls_failure(error: ssl.SSLError, settings: MqttSettings, wall_s: float) -> tuple[str, Response]:
    if not isinstance(error, ssl.SSLCertVerificationError):
        advice = f"does the broker speak TLS on port {settings.port}? check cert_file and the broker's log, too"
        return f"TLS failed: {error.reason or error}; {advice}", Response.SLOW
    code, response = error.verify_code, Response.PERSON
    clock = f"this machine's clock says {datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d %H:%M} UTC"
    if code == NOT_YET_VALID:
        # a device without a clock of its own: the network sets it soon, and nobody has to come
        advice, response = f"{clock}; set it", Response.RETRY
    elif code == EXPIRED:
        advice = f"{clock}; renew the certificate"
    elif code in NAME_MISMATCH:
        advice = "set host to a name that is in the certificate"
    elif code in STRICT_CODES:
        advice = "make it anew with that extension, as docs/howto/mqtt.md shows"
    else:
        authorities = "the system's" if settings.ca_file is None else str(settings.ca_file.absolute())
        advice = f"check ca_file and host (authorities: {authorities})"
    said = str(error.verify_message).rstrip(".")
    return f"the broker's certificate is not accepted: {said}; {advice}", response
