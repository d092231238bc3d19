"""Settings of bundles that come over the network."""

from __future__ import annotations

from dataclasses import dataclass

from headway.settings import boolean, integer, number


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """Bundles that come over the network, tested and rolled back by the agent itself."""

    enabled: bool = boolean(True, doc="Take bundles that come over the network.")
    bundle_bytes_max: int = integer(64 << 20, low=1024, high=512 << 20, doc="Longest bundle in bytes that is taken.")
    trial_s: float = number(
        300.0, low=0.0, high=7 * 86_400, doc="Seconds for which a new bundle must run well before it stays."
    )
    starts_max: int = integer(3, low=1, high=100, doc="Failed starts after which the old bundle comes back.")
    answer_timeout_s: float = number(
        30.0, low=0.1, high=86_400, doc="Seconds to wait for a piece of a bundle before asking again."
    )
    selftest_timeout_s: float = number(
        120.0, low=1.0, high=3600, doc="Seconds that the self-test of a new bundle may take."
    )
    latency_ms_max: float = number(
        0.0, low=0.0, high=3_600_000, doc="Longest median time of one window in the self-test, milliseconds; 0: any."
    )
