"""How to reach the broker: the ``[mqtt]`` table of both programs' configuration. Explained in docs/howto/mqtt.md."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from headway.errors import ConfigError
from headway.fields import Fields


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """websocket_path: empty for plain TCP, else the path of an MQTT-over-WebSocket endpoint such as ``/mqtt``.

    alpn: protocol names offered in the TLS handshake, for brokers that share port 443 with a web server.
    reconnect_spread_s: after a connection that worked has ended, the first attempt comes at a random time within it.
    follow_redirects: connect to the server that the broker names when it has moved.
    """

    host: str = "localhost"
    port: int = 1883
    username: str = ""
    password_file: str = ""
    tls: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    alpn: tuple[str, ...] = ()
    websocket_path: str = ""
    keepalive_s: int = 60
    session_expiry_s: int = 7 * 86_400
    receive_max: int = 20
    packet_bytes_max: int = 160 * 1024
    reconnect_min_s: float = 0.5
    reconnect_max_s: float = 120.0
    reconnect_spread_s: float = 5.0
    connect_timeout_s: float = 10.0
    follow_redirects: bool = False

    @classmethod
    def read(cls, fields: Fields, default: MqttSettings | None = None) -> MqttSettings:
        """Read the table; what it leaves out comes from `default`. Raises ConfigError."""
        default = default or cls()
        settings = cls(
            host=fields.text("host", default.host),
            port=fields.integer("port", default.port, low=1, high=65_535),
            username=fields.text("username", default.username),
            password_file=fields.text("password_file", default.password_file, length_max=4096),
            tls=fields.boolean("tls", default.tls),
            ca_file=fields.text("ca_file", default.ca_file, length_max=4096),
            cert_file=fields.text("cert_file", default.cert_file, length_max=4096),
            key_file=fields.text("key_file", default.key_file, length_max=4096),
            alpn=fields.strings("alpn", default.alpn, count_max=8, length_max=255),
            websocket_path=fields.text("websocket_path", default.websocket_path, length_max=1024),
            keepalive_s=fields.integer("keepalive_s", default.keepalive_s, low=5, high=65_535),
            session_expiry_s=fields.integer("session_expiry_s", default.session_expiry_s, high=2**32 - 1),
            receive_max=fields.integer("receive_max", default.receive_max, low=1, high=65_535),
            packet_bytes_max=fields.integer("packet_bytes_max", default.packet_bytes_max, low=4096, high=2**28),
            reconnect_min_s=fields.number("reconnect_min_s", default.reconnect_min_s, low=0.05, high=3600),
            reconnect_max_s=fields.number("reconnect_max_s", default.reconnect_max_s, low=0.05, high=86_400),
            reconnect_spread_s=fields.number("reconnect_spread_s", default.reconnect_spread_s, low=0.0, high=86_400),
            connect_timeout_s=fields.number("connect_timeout_s", default.connect_timeout_s, low=0.1, high=300),
            follow_redirects=fields.boolean("follow_redirects", default.follow_redirects),
        )
        fields.finish()
        settings._check()
        return settings

    def _check(self) -> None:
        if self.reconnect_max_s < self.reconnect_min_s:
            raise ConfigError(f"reconnect_max_s {self.reconnect_max_s} is below reconnect_min_s")
        if self.cert_file and not self.key_file:
            raise ConfigError("cert_file needs key_file beside it")
        for key in ("ca_file", "cert_file", "alpn"):
            # without TLS they would do nothing, and a password would travel in the clear behind the owner's back
            if getattr(self, key) and not self.tls:
                raise ConfigError(f"{key} is set but tls is false; add tls = true")
        if self.password_file and not self.username:
            raise ConfigError("password_file needs username beside it")
        if self.websocket_path and not self.websocket_path.startswith("/"):
            raise ConfigError(f"websocket_path {self.websocket_path!r} must start with '/', for example '/mqtt'")

    def tls_context(self) -> ssl.SSLContext | None:
        """TLS 1.2 or newer, the server's certificate and name checked; None without TLS. Raises ConfigError."""
        if not self.tls:
            return None
        file = self.ca_file
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                file = f"{self.cert_file} or {self.key_file}"
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot use {file} for TLS: {error.strerror or error}; PEM files are needed") from error
        context.sslsocket_class = _ClosedOnFailure
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        return context

    def password(self) -> str | None:
        """The broker password, from a file so that it never shows in a process list or a log. Raises ConfigError."""
        if not self.password_file:
            return None
        try:
            with open(self.password_file, encoding="utf-8") as file:
                return file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"password_file {self.password_file}: {reason}") from error


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
