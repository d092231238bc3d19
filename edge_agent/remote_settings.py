"""Settings of what may be changed from afar."""

from __future__ import annotations

from dataclasses import dataclass

from headway.settings import boolean, number


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """Whether the aggregator may change settings, and how long new ones are watched."""

    allowed: bool = boolean(
        True,
        doc="Take settings that the aggregator sends, for keys that this page marks; they win over this file. They "
        "change what the device does with labels and how often it reports, never whom it trusts or where it writes.",
    )
    trial_s: float = number(
        30.0,
        low=0.0,
        high=86_400,
        doc="Seconds for which the agent must run well with new settings before they stay, or the old ones come back.",
    )
