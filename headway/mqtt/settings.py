"""How to reach the broker: the ``[mqtt]`` table of both programs' configuration. Explained in docs/howto/mqtt.md."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from headway.credentials import readable_copy
from headway.errors import ConfigError, reason
from headway.settings import boolean, integer, number, optional_path, text, texts


@dataclass(frozen=True, slots=True)
class MqttSettings:
    """How to reach the broker. Raises ConfigError for settings that contradict each other."""

    host: str = text("localhost", doc="Name or address of the broker.")
    port: int = integer(1883, low=1, high=65_535, doc="Port of the broker, usually 8883 with TLS.")
    username: str = text("", doc="Name to log in to the broker with; empty for none.", example="device-1")
    password_file: Path | None = optional_path(
        formerly_here=True,
        doc="File that holds the password, so that it shows in no process list; needs username.",
        example="/etc/headway/agent.password",
    )
    tls: bool = boolean(
        False, doc="Use TLS 1.2 or newer; the broker's certificate and name are always checked.", example=True
    )
    ca_file: Path | None = optional_path(
        formerly_here=True,
        doc="PEM file of the authority that signed the broker's certificate; empty for those of the system.",
        example="/etc/headway/ca.pem",
    )
    cert_file: Path | None = optional_path(
        formerly_here=True,
        doc="PEM file of this program's own certificate, for brokers that ask for one; needs key_file.",
        example="/etc/headway/agent.pem",
    )
    key_file: Path | None = optional_path(
        formerly_here=True,
        doc="PEM file of the private key that belongs to cert_file.",
        example="/etc/headway/agent.key",
    )
    alpn: tuple[str, ...] = texts(
        (),
        count_max=8,
        length_max=255,
        doc="Protocol names offered in the TLS handshake, for MQTT on port 443 beside a web server.",
        example=("mqtt",),
    )
    websocket_path: str = text(
        "",
        length_max=1024,
        doc='Path of an MQTT-over-WebSocket endpoint ("wss" with tls); empty for plain TCP.',
        example="/mqtt",
    )
    keepalive_s: int = integer(
        60, low=5, high=65_535, doc="A connection without traffic for one and a half times so many seconds is dead."
    )
    session_expiry_s: int = integer(
        7 * 86_400, high=2**32 - 1, doc="Seconds for which the broker keeps messages for us while we are away."
    )
    receive_max: int = integer(
        20, low=1, high=65_535, doc="Messages that may be unacknowledged at a time, in each direction."
    )
    packet_bytes_max: int = integer(
        160 * 1024, low=4096, high=2**28, doc="Longest packet in bytes that is taken from the broker."
    )
    reconnect_min_s: float = number(
        0.5, low=0.05, high=3600, doc="Seconds within which the first attempt to connect again comes, at random."
    )
    reconnect_max_s: float = number(
        120.0, low=0.05, high=86_400, doc="Seconds at which the bound of that random wait stops doubling."
    )
    reconnect_spread_s: float = number(
        5.0,
        low=0.0,
        high=86_400,
        doc="Seconds within which, at random, the first attempt comes after a connection that worked has ended.",
    )
    connect_timeout_s: float = number(10.0, low=0.1, high=300, doc="Seconds that one attempt to connect may take.")
    follow_redirects: bool = boolean(
        False, doc="Connect to the server that the broker names when it says that it has moved."
    )

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError("host of mqtt is empty; name the broker, or leave the table out")
        if "/" in self.host or any(map(str.isspace, self.host)):
            raise ConfigError(
                f"host of mqtt is {self.host!r}; give a name or an address alone, and what follows it as port, tls and "
                "websocket_path"
            )
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

    def readable_by_everybody(self) -> list[Path]:
        """Files with secrets that any user of this machine may open; of one that is missing others tell."""
        secrets = [path.absolute() for path in (self.password_file, self.key_file) if path is not None]
        return [path for path in secrets if os.access(path, os.R_OK) and path.stat().st_mode & stat.S_IROTH]

    def password(self) -> str | None:
        """The broker password, from a file so that it never shows in a process list or a log. Raises ConfigError."""
        if self.password_file is None:
            return None
        path = self.password_file.absolute()
        try:
            password = readable_copy(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"password_file {path}: {reason(error)}") from error
        if not password:
            raise ConfigError(f"password_file {path} is empty; write the password into it")
        return password
