"""Saved state opened as the programs open it, and what is then known, as plain values for ``expected.json``.

The tests and the maker share it, so that both see a state with the same eyes. Everything of the programs that the
tests of saved state need is imported here and nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aggregator.bundle_sender import BundleSender
from aggregator.commands.deliver import serving, shelf_of
from aggregator.config import Settings, read_settings
from aggregator.core import Aggregator
from aggregator.heads.publisher import FleetModel
from aggregator.service import Service
from aggregator.store.sql import SqlStore
from edge_agent.commands.explain import read_decisions
from edge_agent.commands.status import read_status
from edge_agent.config import read_config
from edge_agent.daemon import Daemon
from edge_agent.delivery.slots import Slots
from edge_agent.labels.remembered import Window
from edge_agent.startup.active_bundle import Opened, open_bundle
from edge_agent.store.recovery import DATABASE
from edge_agent.store.store import SQLiteStore
from headway.bundle.variant import read_variant
from headway.maths.statistics import Statistics, to_arrays
from headway.mqtt.settings import MqttSettings
from headway.ports import Clock, Connected, Outgoing, Received, SystemClock, TransportEvent
from headway.samples import no_label
from headway.sd_notify import SystemdNotifier
from headway.wire.messages import Ack, StatisticsReport, Update
from headway.wire.topics import Kind, parse_topic, topic

__all__ = [
    "Ack",
    "Kind",
    "Received",
    "Statistics",
    "StatisticsReport",
    "Update",
    "parse_topic",
    "read_config",
    "read_settings",
    "topic",
]

STATE = Path(__file__).parent
OUTBOX_ROWS_MAX = 1_000_000


def packed(folder: Path) -> Path:
    """Every file of a folder in ``FOLDER.zip`` beside it; equal files give equal bytes."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                member = zipfile.ZipInfo(str(path.relative_to(folder.parent)))
                member.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(member, path.read_bytes())
    return target


def unpacked(archive: Path, folder: Path) -> Path:
    """A copy of the packed state below `folder`, beside a copy of its bundle; returns the state's own folder."""
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    shutil.copy(archive.parent / "walk.hwb", folder)
    return folder / archive.stem


def digest(payload: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(payload).hexdigest()


def tables_digest(tables: Statistics) -> str:
    """SHA-256 of tables: names of classes, then each table's int64, little-endian, row by row."""
    total = hashlib.sha256("\n".join(tables.classes).encode())
    for _, array in sorted(to_arrays(tables).items()):
        total.update(np.ascontiguousarray(array).astype("<i8").tobytes())
    return total.hexdigest()


@dataclass
class DeviceWire:
    """The device's connection, to a broker and an aggregator that acknowledges all that it is told."""

    on_event: Callable[[TransportEvent], None]
    told: list[Outgoing] = field(default_factory=list)

    def start(self) -> None:
        self.on_event(Connected(session_present=False))

    def stop(self) -> None:
        return

    def publish(self, message: Outgoing) -> int:
        self.told.append(message)
        address = parse_topic(message.topic)
        ack: Ack | None = None
        if address.kind is Kind.STATISTICS:
            report = StatisticsReport.decode(message.payload)
            ack = Ack(report.epoch, report.counter, 0)
        elif address.kind is Kind.UPDATE:
            update = Update.decode(message.payload)
            ack = Ack(update.epoch, 0, update.sequence)
        if ack is not None:
            self.on_event(Received(topic(address.fleet, address.device, Kind.ACK), ack.encode()))
        return len(self.told)

    def of(self, kind: Kind) -> list[bytes]:
        """Payloads of one kind, in the order they left."""
        return [message.payload for message in self.told if parse_topic(message.topic).kind is kind]


def run_agent(folder: Path) -> DeviceWire:
    """``edge-agent run --once`` in this process, on a connection of the test's own; returns what the device told."""
    wires: list[DeviceWire] = []

    def connect(
        settings: MqttSettings,
        client_id: str,
        subscriptions: tuple[str, ...],
        will: Outgoing,
        on_event: Callable[[TransportEvent], None],
    ) -> DeviceWire:
        wires.append(DeviceWire(on_event))
        return wires[-1]

    Daemon(read_config(folder / "agent.toml"), SystemClock(), connect).run(once=True)
    return wires[0]


def learn_more(folder: Path, x: np.ndarray, y: np.ndarray) -> DeviceWire:
    """Six labelled windows come in over the spool, and a run takes them in with whatever else waits there."""
    spool = read_config(folder / "agent.toml").sensor.spool_dir
    spool.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.savez(content, x=x[:6], y=y[:6], id=np.array([f"more-{row}" for row in range(6)]))
    (spool / "more.npz").write_bytes(content.getvalue())
    return run_agent(folder)


@contextmanager
def opened_agent(folder: Path) -> Iterator[Opened]:
    """What a start of the agent works with; closed as a power cut would, without another checkpoint."""
    config = read_config(folder / "agent.toml")
    opened = open_bundle(config, Slots(config.state_dir, config.bundle), SystemClock())
    try:
        yield opened
    finally:
        opened.store.close()


def describe_agent(folder: Path, x: np.ndarray) -> dict[str, Any]:
    """Everything that must still be known of a device's saved state. Opening it counts a start; use a copy.

    x: float32 (n, *input_shape), windows to predict.
    """
    config = read_config(folder / "agent.toml")
    status: Any = read_status(config)  # before the start below, which counts
    found: dict[str, Any] = {
        name: status[name]
        for name in (
            "device",
            "fleet",
            "learner",
            "classes",
            "serving",
            "labels",
            "fleet_head_version",
            "prior_labels",
            "sync",
            "waiting_labels",
            "files_consumed",
            "labels_of_older_epochs",
        )
    }
    found["outbox_rows"] = status["outbox"]["rows"]
    found["bundle_sha256"] = status["bundle"]["sha256"]
    store = SQLiteStore(Slots(config.state_dir, config.bundle).store_dir / DATABASE, read_only=True)
    windows = [(name, Window.decode(payload)) for name, payload in store.windows()]
    found["journal_entries"] = len(store.journal())
    found["outbox_sha256"] = digest(b"".join(row.payload for row in store.outbox(0, OUTBOX_ROWS_MAX)))
    store.close()
    # a window's label, the number under which it was learned, and the class learned by prediction; -1 for none
    found["windows"] = [[name, window.label, window.number, window.pseudo_label] for name, window in windows]
    found["windows_labelled"] = sum(not no_label(window.label) for _, window in windows)
    found["windows_learned_by_prediction"] = sum(window.pseudo_label >= 0 for _, window in windows)
    records: list[Any] = [*read_decisions(config)]
    kinds = Counter(f"{record['name']} by {record['detail'].get('by', 'itself')}" for record in records)
    found["records"] = dict(sorted(kinds.items()))
    found["records_sha256"] = digest(json.dumps(records, sort_keys=True).encode())
    with opened_agent(folder) as opened:
        agent = opened.agent
        found["sequence"] = agent.sync_state.sequence
        found["removed_classes"] = sorted(agent.learner.removed)
        found["statistics_sha256"] = "" if agent.learner.kind != "exact" else tables_digest(own_tables(opened))
        probability = agent.learner.predict(opened.pipeline.features(x)).probability
    found["probabilities"] = [[round(float(value), 8) for value in row] for row in probability]
    # of no use on another processor: its BLAS may round otherwise (see the test)
    found["probabilities_sha256"] = digest(np.ascontiguousarray(probability).astype("<f4").tobytes())
    return found


def own_tables(opened: Opened) -> Statistics:
    """What the exact learner knows of the device's own labels."""
    tables: Statistics = opened.agent.learner.trainer.statistics  # type: ignore[union-attr]
    return tables


@dataclass
class ServerWire:
    """The aggregator's connection: tests put in what devices say, and read what comes out."""

    on_event: Callable[[TransportEvent], None]
    sent: list[Outgoing] = field(default_factory=list)

    def start(self) -> None:
        self.on_event(Connected(session_present=False))

    def stop(self) -> None:
        return

    def publish(self, message: Outgoing) -> int:
        self.sent.append(message)
        return len(self.sent)


@dataclass
class Server:
    """A running aggregator."""

    settings: Settings
    store: SqlStore
    core: Aggregator
    service: Service
    wire: ServerWire

    def tell(self, *messages: Received) -> list[Outgoing]:
        """Messages arrive; returns what leaves in the turn that takes them in."""
        for message in messages:
            self.wire.on_event(message)
        before = len(self.wire.sent)
        self.service.turn(0.0)
        return self.wire.sent[before:]


@contextmanager
def opened_server(folder: Path, clock: Clock | None = None) -> Iterator[Server]:
    """``edge-fleet serve`` without its lock and its broker. Paths of its configuration count from the working folder.

    The aggregator has connected, and its own greeting has come back.
    """
    settings = read_settings(folder / "aggregator.toml")
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    store = SqlStore(settings.database)
    bundle = serving(settings, store)
    model = FleetModel.of(read_variant(bundle))
    wires: list[ServerWire] = []

    def connect(
        will: Outgoing, subscriptions: tuple[str, ...], on_event: Callable[[TransportEvent], None]
    ) -> ServerWire:
        wires.append(ServerWire(on_event))
        return wires[-1]

    with store.transaction():
        identity = (digest(bundle.read_bytes()), model.space)
        deliveries = BundleSender(settings.fleet, store, shelf_of(settings), settings.policy.delivery, identity)
        core = Aggregator(settings.fleet, model, settings.policy, store, deliveries)
    limits, notifier = settings.service, SystemdNotifier.from_environment()
    service = Service(settings.fleet, core, store, connect, limits, clock or SystemClock(), notifier)
    server = Server(settings, store, core, service, wires[0])
    try:
        service.start()
        greetings = [m for m in server.tell() if parse_topic(m.topic).kind is Kind.STATUS]
        server.tell(*(Received(greeting.topic, greeting.payload) for greeting in greetings))
        yield server
    finally:
        store.close()


def describe_server(folder: Path) -> dict[str, Any]:
    """Everything that must still be known of an aggregator's saved state, before it does anything."""
    settings = read_settings(folder / "aggregator.toml")
    store = SqlStore(settings.database)
    model = FleetModel.of(read_variant(serving(settings, store)))
    try:
        with store.transaction():
            core, head = Aggregator(settings.fleet, model, settings.policy, store), store.head()
            assert head is not None
            return {
                "devices": [
                    [row.device, row.epoch, row.counter, row.sequence, row.boot, row.online, digest(row.reported)]
                    for row in store.devices()
                ],
                "contributors": store.contributor_count(model.space),
                "reports": [[row.device, row.epoch, row.counter] for row in store.every_statistics(model.space)],
                "epochs": {row.device: store.epoch_count(row.device) for row in store.devices()},
                "samples": core.statistics.samples,
                "classes": list(core.statistics.classes),
                "statistics_sha256": tables_digest(core.statistics),
                "head_version": head.version,
                "head_method": head.method,
                "head_sha256": digest(head.payload),
                "updates_waiting": [[row.device, row.sequence] for row in store.updates(model.space)],
                "parts": store.part_count(),
                "deliveries": [[row.device, row.sha256, row.release, row.done] for row in store.deliveries()],
                "clearings": store.clearings(),
                "refusals": [[row.device, row.reason, row.count] for row in store.refusals()],
                "events": dict(sorted(Counter(row.name for row in store.events(1000)).items())),
            }
    finally:
        store.close()
