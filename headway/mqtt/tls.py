"""The TLS side of a connection to the broker."""

from __future__ import annotations

import ssl
from typing import NoReturn

from headway.errors import ConfigError
from headway.mqtt.settings import MqttSettings


def tls_context(settings: MqttSettings, *, checked_in_handshake: bool = False) -> ssl.SSLContext | None:
    """TLS 1.2 or newer, the server's certificate and name checked; None without TLS. Reads the files anew each time.

    checked_in_handshake: TLS 1.2, whose handshake ends only when the server has checked our certificate; in TLS 1.3 the
    client is done before.

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
    if checked_in_handshake:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if settings.alpn:
        context.set_alpn_protocols(list(settings.alpn))
    return context


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
