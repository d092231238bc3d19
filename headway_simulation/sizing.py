"""What a fleet of millions needs, from what a device of a simulated one sends and what a report was measured to cost.

Every factor is named with where it comes from: the simulation of this run, a measurement (docs/howto/scale.md), or an
assumption. Nothing here grows faster than the devices do: sums merge in any order, so workers, databases and regions
share a load without talking to each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headway.wire import TO_WORKERS, Kind
from headway_simulation.meter import Load

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
DAY_S = 86_400.0
# headers of MQTT, TCP and TLS of a message, in bytes
HEADER_BYTES = 100
TERABYTE, MEGABYTE = 1e12, 1e6


@dataclass(frozen=True, slots=True)
class Costs:
    """Factors that the simulation cannot know. Times are milliseconds of one core for one report.

    worker_ms, database_ms, publisher_ms, broker_ms: measured (python -m benchmarks.workers). The rest is assumed:
    other_ms, of a message that is no report, wherever it is taken in; bytes of a device in the database; what share of
    a core is planned for; how much more comes at the busiest time; how many devices one broker serves.
    """

    worker_ms: float = 0.9
    database_ms: float = 0.5
    publisher_ms: float = 0.2
    broker_ms: float = 0.03
    other_ms: float = 1.5
    stored_bytes: float = 12_000.0
    core_share: float = 0.5
    peak: float = 3.0
    devices_per_broker: int = 200_000


@dataclass(frozen=True, slots=True)
class Size:
    """What so many devices need."""

    devices: int
    reports_per_s: float
    messages_per_s: float
    megabytes_per_s: float
    worker_cores: int
    database_cores: int
    publisher_busy: float
    broker_cores: int
    brokers: int
    regions: int
    database_terabytes: float


def sized(load: Load, devices: int, hours: float, wanted: int, costs: Costs) -> Size:
    """Of `wanted` devices that behave as the `devices` of a run of so many hours did, at the busiest time."""
    peak = wanted / devices * costs.peak / (hours * 3600.0)
    worked = sum(load.messages.get(kind, 0) for kind in TO_WORKERS if kind is not Kind.STATISTICS) * peak
    # priors, comparisons of heads and commands do not grow with a fleet as they would from a small one
    published = load.messages.get(Kind.STATUS, 0) * peak
    reports_per_s = load.messages.get(Kind.STATISTICS, 0) * peak
    messages_per_s = (load.broker_in_mean_per_s + load.broker_out_mean_per_s) * wanted / devices * costs.peak
    payload = (load.up_bytes_per_device_day + load.down_bytes_per_device_day) / DAY_S * wanted * costs.peak

    def cores(busy_ms: float) -> int:
        return math.ceil(busy_ms / 1e3 / costs.core_share)

    # one publisher is one thread: a region is as large as it can take
    publishing_ms = costs.publisher_ms * reports_per_s + costs.other_ms * published
    regions = cores(publishing_ms)
    return Size(
        wanted,
        reports_per_s,
        messages_per_s,
        (payload + messages_per_s * HEADER_BYTES) / MEGABYTE,
        cores(costs.worker_ms * reports_per_s + costs.other_ms * worked),
        cores(costs.database_ms * reports_per_s),
        publishing_ms / 1e3 / regions,
        cores(costs.broker_ms * messages_per_s),
        math.ceil(wanted / costs.devices_per_broker),
        regions,
        wanted * costs.stored_bytes / TERABYTE,
    )


def table(load: Load, devices: int, hours: float, costs: Costs) -> str:
    """For people: a column for each of `SIZES`, and where every factor comes from."""
    sizes = [sized(load, devices, hours, wanted, costs) for wanted in SIZES]
    rows = [
        ("devices", [f"{size.devices:,}" for size in sizes]),
        ("reports, /s at the busiest time", [f"{size.reports_per_s:,.1f}" for size in sizes]),
        ("messages in and out, /s", [f"{size.messages_per_s:,.1f}" for size in sizes]),
        ("network, MB/s", [f"{size.megabytes_per_s:,.2f}" for size in sizes]),
        ("workers, cores", [f"{size.worker_cores:,}" for size in sizes]),
        ("databases, cores", [f"{size.database_cores:,}" for size in sizes]),
        ("publisher of a region, cores busy", [f"{size.publisher_busy:,.2f}" for size in sizes]),
        ("brokers, cores", [f"{size.broker_cores:,}" for size in sizes]),
        ("brokers", [f"{size.brokers:,}" for size in sizes]),
        ("regions", [f"{size.regions:,}" for size in sizes]),
        ("databases, TB", [f"{size.database_terabytes:,.3f}" for size in sizes]),
    ]
    lines = [f"{name:<34}" + "".join(f"{value:>14}" for value in values) for name, values in rows]
    simulated = f"{load.messages.get(Kind.STATISTICS, 0) / hours / devices:.2f} reports a device and hour"
    measured = (
        f"worker {costs.worker_ms:g} ms, database {costs.database_ms:g} ms, publisher {costs.publisher_ms:g} ms, "
        f"broker {costs.broker_ms:g} ms"
    )
    assumed = (
        f"{costs.core_share:.0%} of a core in use, {costs.peak:g} times the mean at the busiest time, "
        f"{costs.devices_per_broker:,} devices on a broker,\n{costs.stored_bytes:,.0f} bytes stored of a device, "
        f"{costs.other_ms:g} ms for a message that is no report"
    )
    return "\n".join([*lines, f"simulated: {simulated}", f"measured: {measured}", f"assumed: {assumed}"])
