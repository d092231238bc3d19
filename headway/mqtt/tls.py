"""The TLS side of a connection to the broker."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import NoReturn

from headway.errors import ConfigError
from headway.mqtt.settings import MqttSettings
from headway.ports import Response

# of OpenSSL (X509_V_ERR_...)
NOT_YET_VALID, EXPIRED = 9, 10
NAME_MISMATCH = (62, 64)
# extensions that RFC 5280 demands, which Python 3.13 checks by default
STRICT_CODES = range(80, 94)


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """TLS 1.2 or newer, the server's certificate and name checked; None without TLS. Reads the files anew each time.

    Raises ConfigError, which names the file.
    """
    if not settings.tls:
        return None
    ca_file = None if settings.ca_file is None else settings.ca_file.absolute()
    file = f"ca_file {ca_file}"
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if settings.cert_file is not None and settings.key_file is not None:
            pair = settings.cert_file.absolute(), settings.key_file.absolute()
            file = f"cert_file {pair[0]} or key_file {pair[1]}"
            # without a function OpenSSL would ask on the terminal, and wait there for ever
            context.load_cert_chain(*pair, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use {file} for TLS: {error.strerror or error}; PEM files are needed") from error
    context.sslsocket_class = _ClosedOnFailure
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.alpn:
        context.set_alpn_protocols(list(settings.alpn))
    return context


def tls_failure(error: ssl.SSLError, settings: MqttSettings, wall_s: float) -> tuple[str, Response]:
    """A handshake that failed, in words with the fix, and what to do about it. wall_s: this machine's clock."""
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


def _no_passphrase() -> NoReturn:
    raise ConfigError("key_file needs a passphrase, and nobody is there to type it; take it off: openssl pkey")


class _ClosedOnFailure(ssl.SSLSocket):
    """paho lets go of a socket whose handshake failed without closing it; an attempt a minute would pile them up."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except (OSError, ValueError):
            self.close()
            raise
