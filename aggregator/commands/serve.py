"""``edge-fleet serve``: one service on one state folder, which starts again with the bundle the fleet moves to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from aggregator.alerts.channels import Channel
from aggregator.alerts.delivery import begin_channels
from aggregator.bundle_sender import BundleSender
from aggregator.commands.alone import alone
from aggregator.commands.deliver import serving, shelf_of
from aggregator.commands.known_bundles import KnownBundles, keep_served
from aggregator.commands.monitoring import monitored
from aggregator.commands.signing import signer_of
from aggregator.commands.standby import stood_by
from aggregator.commands.telling import channels_of, telling
from aggregator.config import Settings
from aggregator.core import Aggregator
from aggregator.engine import Engine, LocalEngine
from aggregator.engine_settings import EngineKind, EngineSettings
from aggregator.heads import FleetModel
from aggregator.privacy_ledger import LEDGER_FOLDER, carry_spent, spent_beside, write_spent
from aggregator.privacy_words import privacy_in_words
from aggregator.readers import Readers, readers_here
from aggregator.regions import ParentLink, region_subscriptions
from aggregator.removals import REMOVALS_FOLDER, keep_out, records_in, records_of, write_records
from aggregator.service import Service
from aggregator.store import DATABASE
from aggregator.store.rows import PRIVACY_SPENT, PrivacySpentRow, RemovalRow
from aggregator.store.serving import ServingPlace, ServingStore
from headway.arrays import keep_freed_memory
from headway.bundle import read_variant
from headway.errors import ConflictError
from headway.mqtt.transport import MqttTransport, check_files
from headway.ports import Outgoing, SystemClock, TransportEvent
from headway.sd_notify import SystemdNotifier
from headway.stopping import StopRequest

LOG = logging.getLogger("headway.aggregator")


def serve(settings: Settings) -> int:
    """Serve until told to stop; returns the exit code."""
    # before anything that takes time, and for every bundle that follows
    stop = StopRequest.on_signals()
    keep_freed_memory()
    if not (settings.state_dir / DATABASE).exists():
        read_variant(settings.bundle)  # before anything is made for a bundle that cannot be used
    with alone(settings.state_dir), ServingPlace(settings.database) as place:
        if stood_by(place, stop):
            with engine_of(settings.engine) as engine, Readers(readers_here(), SystemClock()) as readers:
                while _serve_one_bundle(settings, stop, engine, readers):
                    LOG.info("the fleet has moved to another bundle; starting again with it")
    return 0


def _serve_one_bundle(settings: Settings, stop: StopRequest, engine: Engine, readers: Readers) -> bool:
    """Serve until told to stop; True when there is another bundle to serve."""
    if stop.requested:
        return False
    channels = channels_of(settings, SystemClock())
    with closing(ServingStore(settings.database)) as store:
        return _serve_from(store, channels, settings, stop, engine, readers)


def _serve_from(
    store: ServingStore,
    channels: list[tuple[Channel, float]],
    settings: Settings,
    stop: StopRequest,
    engine: Engine,
    readers: Readers,
) -> bool:
    clock, notifier = SystemClock(), SystemdNotifier.from_environment()
    bundle = serving(settings, store)
    model = FleetModel.of(read_variant(bundle))
    (sha256, served), shelf = keep_served(bundle, settings.state_dir), shelf_of(settings)
    records, ledger = settings.state_dir / REMOVALS_FOLDER, settings.state_dir / LEDGER_FOLDER
    if settings.policy.privacy.wanted:
        LOG.info("%s", privacy_in_words(settings.policy))
    with store.transaction():
        keep_out(store, records_in(records), settings.fleet)
        write_records(records, records_of(store))
        carry_spent(store, spent_beside(ledger))
        if spent := store.rows(PRIVACY_SPENT).all():
            write_spent(ledger, spent)
        begin_channels(store, [channel.name for channel, _ in channels])
        deliveries = BundleSender(settings.fleet, store, shelf, settings.policy.delivery, (sha256, model.space))
        bundles = KnownBundles(served, shelf.folder)
        workers = settings.workers.enabled
        core = Aggregator(
            settings.fleet,
            model,
            settings.policy,
            store,
            deliveries,
            bundles,
            signer_of(settings),
            workers,
            engine,
            readers,
        )

    def connect(
        will: Outgoing, subscriptions: tuple[str, ...], on_event: Callable[[TransportEvent], None]
    ) -> MqttTransport:
        client_id = f"headway-{settings.fleet}-aggregator"
        return MqttTransport(settings.mqtt, client_id, subscriptions, will, on_event)

    def kept(row: RemovalRow) -> None:
        write_records(records, [row])

    def spent_on(row: PrivacySpentRow) -> None:
        write_spent(ledger, [row])

    # a device works on without the network and tries again; a server without it has nothing to do
    check_files(settings.mqtt)
    with monitored(settings, clock) as watch, telling(settings, channels, clock):
        service = Service(
            settings.fleet,
            core,
            store,
            connect,
            settings.service,
            clock,
            notifier,
            stop,
            watch,
            kept,
            spent_on,
            workers,
            _parent_of(settings),
        )
        return service.run()


@contextmanager
def engine_of(settings: EngineSettings) -> Iterator[Engine]:
    """Where heavy work is done: here, too, while a cluster cannot be reached. Raises ConfigError without Ray itself."""
    if settings.kind is EngineKind.LOCAL:
        yield LocalEngine()
        return
    from aggregator.engine.on_ray import RayEngine

    try:
        engine = RayEngine(settings)
    except ConflictError as error:
        # Ray ends a process whose cluster is lost; the server has to come back without it
        LOG.warning("%s; until the next start everything is computed here", error)
        yield LocalEngine()
        return
    with engine:
        yield engine


def _parent_of(settings: Settings) -> ParentLink | None:
    """The connection of a region to its parent's broker; None where there is no parent. Raises ConfigError."""
    region = settings.policy.region
    if not region.name:
        return None
    check_files(settings.parent)

    def connect(on_event: Callable[[TransportEvent], None]) -> MqttTransport:
        client_id = f"headway-{region.fleet}-{region.name}"
        return MqttTransport(settings.parent, client_id, region_subscriptions(region), None, on_event)

    return ParentLink(connect)
