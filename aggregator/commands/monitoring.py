"""The metrics of a running service: what it counts itself, snapshots of the fleet, and the port that shows both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aggregator.config import Settings
from aggregator.monitoring import NotWatched, Watch
from aggregator.store import Store
from aggregator.store.sql import SqlStore
from headway.ports import Clock

STOP_TIMEOUT_S = 2.0


@contextmanager
def monitored(settings: Settings, clock: Clock) -> Iterator[Watch]:
    """Answer scrapes meanwhile, where a port is configured. Raises ConfigError where nobody can listen there."""
    if not settings.metrics.port:
        yield NotWatched()
        return
    from aggregator.monitoring.server import MetricsServer
    from aggregator.monitoring.service_metrics import ServiceMetrics
    from aggregator.monitoring.snapshots import Snapshots

    metrics = ServiceMetrics()
    snapshots = Snapshots(lambda: _opened(settings.database), settings.metrics.interval_s, clock)
    metrics.registry.register(snapshots)
    server = MetricsServer(metrics.registry, settings.metrics.listen, settings.metrics.port)
    server.start()
    snapshots.start()
    try:
        yield metrics
    finally:
        server.stop()
        snapshots.stop(STOP_TIMEOUT_S)


def _opened(url: str) -> tuple[Store, Callable[[], None]]:
    store = SqlStore(url)
    return store, store.close
