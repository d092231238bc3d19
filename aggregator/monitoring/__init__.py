"""Metrics for Prometheus: what the service does, what the fleet is like, on a port of its own."""

from aggregator.monitoring.settings import MetricsSettings
from aggregator.monitoring.watch import NotWatched, Watch

__all__ = ["MetricsSettings", "NotWatched", "Watch"]
