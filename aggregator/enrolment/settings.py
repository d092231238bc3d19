"""Settings of enrolment: the ``[enrolment]`` table of aggregator.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway.settings import integer, optional_path, text, texts


@dataclass(frozen=True, slots=True)
class EnrolmentSettings:
    """Where devices join, which broker they are told, and how that broker learns of a revoked certificate."""

    listen: str = text("0.0.0.0", doc="Address on which edge-fleet join-server listens, with TLS.")
    port: int = integer(8884, low=1, high=65_535, doc="Port on which edge-fleet join-server listens.")
    broker_host: str = text(
        "", doc="Name or address by which devices reach the broker; empty: host of [mqtt].", example="broker.example"
    )
    broker_port: int = integer(8883, low=1, high=65_535, doc="Port by which devices reach the broker, with TLS.")
    certificate_days: int = integer(
        365, low=1, high=3650, doc="Days for which a certificate is good; a device renews it in the last third."
    )
    broker_dir: Path | None = optional_path(
        doc="Folder that edge-fleet broker-config has written; edge-fleet revoke renews the list of revoked "
        "certificates in it.",
        example="/etc/headway-broker",
    )
    broker_reload: tuple[str, ...] = texts(
        ("systemctl", "reload", "mosquitto"),
        count_max=16,
        doc="Command, word by word, that makes the broker read that list again; none: something else does.",
    )
