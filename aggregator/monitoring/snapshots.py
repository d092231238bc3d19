"""Looks at the whole fleet now and then, in a thread of its own with a handle of the store of its own.

Scrapes get the last look. So one costs the store nothing, however often and however slowly somebody scrapes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from aggregator.monitoring.fleet_metrics import fleet_metrics
from aggregator.store import Store
from headway.errors import StoreError
from headway.ports import Clock

LOG = logging.getLogger("headway.aggregator.metrics")


class Snapshots(Collector):
    """A collector of prometheus_client. open_store: a handle for its thread, and what closes it."""

    def __init__(
        self, open_store: Callable[[], tuple[Store, Callable[[], None]]], interval_s: float, clock: Clock
    ) -> None:
        self._open_store, self._interval_s, self._clock = open_store, interval_s, clock
        self._families: list[Metric] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-snapshots", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stopped.set()
        self._thread.join(timeout_s)

    def describe(self) -> Iterable[Metric]:
        """Names are known once there is a snapshot."""
        return []

    def collect(self) -> Iterable[Metric]:
        return self._families

    def look(self, store: Store) -> None:
        """Take a snapshot. Raises StoreError."""
        begun_s = self._clock.monotonic_s()
        families = fleet_metrics(store, self._clock.wall_s())
        taken_s = self._clock.monotonic_s() - begun_s
        at = GaugeMetricFamily(
            "headway_snapshot_timestamp_seconds", "When the fleet was last looked at.", value=self._clock.wall_s()
        )
        duration = GaugeMetricFamily("headway_snapshot_duration_seconds", "How long that took.", value=taken_s)
        self._families = [*families, at, duration]

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look_again_and_again()
            except StoreError as error:
                # an old snapshot shows by its timestamp
                LOG.warning("metrics of the fleet cannot be read for now: %s", error)
                self._stopped.wait(self._interval_s)

    def _look_again_and_again(self) -> None:
        store, close = self._open_store()
        try:
            while not self._stopped.is_set():
                self.look(store)
                self._stopped.wait(self._interval_s)
        finally:
            close()
