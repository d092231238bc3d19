"""``edge-fleet worker``: one of several processes that take in reports, on the database of ``edge-fleet serve``."""

from __future__ import annotations

from collections.abc import Callable

from aggregator.commands.deliver import serving, shelf_of
from aggregator.commands.known_bundles import KnownBundles
from aggregator.commands.place import until_the_end
from aggregator.config import Settings
from aggregator.heads import FleetModel
from aggregator.operations import SERVED
from aggregator.store.working import WorkerStore
from aggregator.workers import Worker, WorkerService
from headway.arrays import keep_freed_memory
from headway.bundle import read_variant
from headway.errors import ConfigError
from headway.mqtt.handed import HandedTransport
from headway.mqtt.transport import check_files
from headway.names import checked_name
from headway.ports import SystemClock, TransportEvent
from headway.sd_notify import SystemdNotifier
from headway.stopping import StopRequest


def work(settings: Settings, name: str) -> int:
    """Take in reports until told to stop; returns the exit code."""
    checked_name(name, "worker")
    stop = StopRequest.on_signals()
    keep_freed_memory()
    workers = settings.workers
    if not workers.enabled:
        raise ConfigError("workers take nothing in before [workers] enabled = true; edge-fleet serve does it alone")
    mqtt = workers.mqtt(settings.mqtt, name)
    check_files(mqtt)
    store = until_the_end(WorkerStore(settings.database))
    model = FleetModel.of(read_variant(serving(settings, store)))
    bundles = KnownBundles(settings.state_dir / SERVED, shelf_of(settings).folder)
    with store.transaction():
        worker = Worker(settings.fleet, name, model, settings.policy, store, bundles)

    def connect(subscriptions: tuple[str, ...], on_event: Callable[[TransportEvent], None]) -> HandedTransport:
        return HandedTransport(mqtt, f"headway-{settings.fleet}-worker-{name}", subscriptions, on_event)

    limits = settings.service
    service = WorkerService(
        settings.fleet, worker, store, connect, workers.reports_per_transaction_max, limits.queue_bytes_max,
        SystemClock(), SystemdNotifier.from_environment(), stop,
    )  # fmt: skip
    service.run()
    return 0
