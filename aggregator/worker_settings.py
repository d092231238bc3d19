"""The ``[workers]`` table of the server's configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from headway.errors import ConfigError
from headway.mqtt import MqttSettings
from headway.settings import boolean, integer, text

# what stands for the name of a worker
NAME = "{name}"


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Who takes in reports. Raises ConfigError."""

    enabled: bool = boolean(
        False,
        doc="Whether edge-fleet worker takes in reports, any number of them on one PostgreSQL database, and edge-fleet "
        "serve adds up what they stored, publishes and does all the rest.",
    )
    username: str = text(
        "",
        length_max=256,
        doc="Name with which a worker logs in to the broker, {name} stands for its own; empty: that of [mqtt].",
        example="headway-worker-{name}",
    )
    password_file: str = text(
        "",
        length_max=4096,
        doc="File that holds its password, {name} stands for its own; needs username.",
        example="/etc/headway-server/worker-{name}.password",
    )
    reports_per_transaction_max: int = integer(
        100, low=1, high=10_000, doc="Reports that a worker stores in one transaction; twice as many may wait for it."
    )

    def __post_init__(self) -> None:
        if self.password_file and not self.username:
            raise ConfigError("password_file of workers needs username beside it")

    def mqtt(self, settings: MqttSettings, name: str) -> MqttSettings:
        """How the worker of this name reaches the broker."""
        window = replace(settings, receive_max=min(2 * self.reports_per_transaction_max, 65_535))
        if not self.username:
            return window
        file = Path(self.password_file.replace(NAME, name)) if self.password_file else settings.password_file
        return replace(window, username=self.username.replace(NAME, name), password_file=file)
