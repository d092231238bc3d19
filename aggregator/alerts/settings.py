"""Settings of the channels on which alerts are told: tables ``[webhook]`` and ``[email]`` of aggregator.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway.settings import boolean, integer, number, optional_path, text, texts


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """A web address that is told."""

    url: str = text("", length_max=2048, doc="Address that alerts are posted to; empty: none.", example="")
    secret_file: Path | None = optional_path(
        doc="File with the secret that signs what is posted: whsec_ and 24 bytes or more in base64.",
        example="/etc/headway/webhook.secret",
    )
    timeout_s: float = number(10.0, low=0.1, high=120.0, doc="Seconds within which the other side has to answer.")
    give_up_s: float = number(
        86_400.0, low=60.0, high=30 * 86_400.0, doc="Seconds for which a message that fails is tried again."
    )


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """A mail relay, and who is told."""

    host: str = text("", doc="Mail relay; empty: no mail.", example="")
    port: int = integer(587, low=1, high=65_535, doc="Port of the relay.")
    starttls: bool = boolean(True, doc="Whether the connection must turn to TLS, the relay's certificate checked.")
    username: str = text("", doc="User name at the relay; empty: none is needed.", example="")
    password_file: Path | None = optional_path(
        doc="File with the password at the relay.", example="/etc/headway/mail.password"
    )
    sender: str = text("", doc="Address that mails come from.", example="")
    to: tuple[str, ...] = texts((), count_max=32, doc="Addresses that are told.")
    interval_s: float = number(
        60.0, low=0.0, high=86_400.0, doc="Shortest time between two mails, seconds; what comes meanwhile is one mail."
    )
    timeout_s: float = number(20.0, low=0.1, high=120.0, doc="Seconds within which the relay has to take a mail.")
    give_up_s: float = number(
        86_400.0, low=60.0, high=30 * 86_400.0, doc="Seconds for which a mail that fails is tried again."
    )
