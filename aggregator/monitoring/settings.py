"""Settings of the metrics: the ``[metrics]`` table of aggregator.toml."""

from __future__ import annotations

from dataclasses import dataclass

from headway.settings import integer, number, text


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Where Prometheus scrapes."""

    port: int = integer(0, high=65_535, doc="Port of /metrics for Prometheus; 0: none.")
    listen: str = text("127.0.0.1", doc="Address of that port. It has no password: keep it on loopback or behind one.")
    interval_s: float = number(
        15.0, low=1.0, high=3600.0, doc="Seconds between two looks at the whole fleet; a scrape shows the last one."
    )
