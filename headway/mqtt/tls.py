"""The TLS side of a connection to the broker."""

from __future__ import annotations

import ssl

from headway.errors import ConfigError
from headway.mqtt.settings import MqttSettings


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """TLS 1.2 or newer, the server's certificate and name checked; None without TLS. Raises ConfigError."""
    if not settings.tls:
        return None
    file = settings.ca_file
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
        if settings.cert_file:
            file = f"{settings.cert_file} or {settings.key_file}"
            context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use {file} for TLS: {error.strerror or error}; PEM files are needed") from error
    context.sslsocket_class = _ClosedOnFailure
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.alpn:
        context.set_alpn_protocols(list(settings.alpn))
    return context


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
