"""The ``[region]`` table of the server's configuration: this server as one device of a parent server."""

from __future__ import annotations

from dataclasses import dataclass

from headway.errors import ConfigError
from headway.names import checked_name
from headway.settings import boolean, number, text


@dataclass(frozen=True, slots=True)
class RegionSettings:
    """Whom this server reports its sum to. Raises ConfigError."""

    name: str = text(
        "", length_max=64, doc="Name of this region, a device of the parent's fleet; empty: there is no parent.",
        example="europe",
    )  # fmt: skip
    fleet: str = text("", length_max=64, doc="Name of the parent's fleet.", example="world")
    interval_s: float = number(
        60.0, low=0.1, high=86_400, doc="Shortest time between two reports to the parent, and until one without an "
        "answer is sent again, seconds.",
    )  # fmt: skip
    heads: bool = boolean(
        True,
        doc="Whether devices of this region get the parent's heads, each as a new version of this fleet's, and none of "
        "the region alone.",
    )

    def __post_init__(self) -> None:
        if bool(self.name) != bool(self.fleet):
            raise ConfigError("region needs both name and fleet, its own name and the parent's fleet, or neither")
        if self.name:
            checked_name(self.name, "device")
            checked_name(self.fleet, "fleet")
