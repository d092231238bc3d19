"""Settings of what a device tells of itself and its machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headway.errors import ConfigError
from headway.settings import names, number
from headway.wire import checked_attributes


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Raises ConfigError for attributes that an aggregator would not take."""

    interval_s: float = number(
        900.0,
        low=1.0,
        high=7 * 86_400,
        key="health.interval_s",
        remote=True,
        doc="Seconds between two messages to the aggregator about disk, memory and temperature.",
    )
    attributes: Mapping[str, str] = names(
        key="device.attributes",
        doc="What the aggregator should know of this device: at most 16 texts by name, for filters over devices.",
        example={"site": "north", "room": "cellar-2"},
    )

    def __post_init__(self) -> None:
        checked_attributes({**self.attributes}, "[device.attributes]", ConfigError)
