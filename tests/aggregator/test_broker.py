"""The service as a process on a real broker: whatever is killed, nothing acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import queue
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.arrays import Float32
from headway.bundle.variant import Variant
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics, merge
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Outgoing, Received, TransportEvent
from headway.wire.messages import Ack, PublishedHead, StatisticsReport, Status, Update
from headway.wire.topics import Kind, device_subscriptions, topic
from testbed.broker import Broker, die_with_parent
from tests.edge_agent.variants import variant

pytestmark = pytest.mark.broker

FLEET = "crash"
DEVICES = 4
MESSAGES = 15
RETRY_S = 0.5
PATIENCE_S = 60.0


@dataclass
class Device:
    """What an agent does on the wire: one message at a time, again until the aggregator has acknowledged it."""

    name: str
    messages: list[bytes]
    kind: Kind
    transport: MqttTransport
    acknowledged: int = 0
    head: PublishedHead | None = None

    def send(self) -> None:
        """The first message not yet acknowledged; numbers start at 1."""
        if self.acknowledged < len(self.messages):
            name = topic(FLEET, self.name, self.kind)
            retain = self.kind is Kind.STATISTICS
            self.transport.publish(Outgoing(name, self.messages[self.acknowledged], retain=retain))


@dataclass
class Devices:
    """All devices of the test, driven by one queue of what the broker brings them."""

    port: int
    events: queue.Queue[tuple[str, TransportEvent]] = field(default_factory=queue.Queue)
    members: dict[str, Device] = field(default_factory=dict)

    def add(self, name: str, kind: Kind, messages: list[bytes]) -> None:
        will = Outgoing(topic(FLEET, name, Kind.STATUS), Status(False, 1).encode(), retain=True)
        settings = MqttSettings(host="127.0.0.1", port=self.port, reconnect_min_s=0.05, reconnect_max_s=0.2)
        transport = MqttTransport(
            settings,
            name,
            device_subscriptions(FLEET, name, variant().space),
            will,
            lambda event: self.events.put((name, event)),
        )
        self.members[name] = Device(name, messages, kind, transport)
        transport.start()

    @property
    def acknowledged(self) -> int:
        return sum(device.acknowledged for device in self.members.values())

    def run_until(self, done: Callable[[], bool]) -> None:
        """Handle events until `done`; a device that hears nothing for a while sends again."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s, f"stuck at {[d.acknowledged for d in self.members.values()]}"
            try:
                name, event = self.events.get(timeout=RETRY_S)
            except queue.Empty:
                for device in self.members.values():
                    device.send()
                continue
            self._handle(self.members[name], event)

    def _handle(self, device: Device, event: TransportEvent) -> None:
        if isinstance(event, Connected):
            device.send()
        elif isinstance(event, Received) and event.topic.endswith("/ack"):
            ack = Ack.decode(event.payload)
            number = ack.counter if device.kind is Kind.STATISTICS else ack.sequence
            if number > device.acknowledged:
                device.acknowledged = number
                device.send()
        elif isinstance(event, Received) and event.topic.endswith("/head"):
            head = PublishedHead.decode(event.payload)
            # a killed broker comes back with an older retained head; a device ignores what is not newer (protocol 4.8)
            if device.head is None or head.version > device.head.version:
                device.head = head

    def stop(self) -> None:
        for device in self.members.values():
            device.transport.stop()


class Aggregator:
    """`edge-fleet serve` as a process of its own."""

    def __init__(self, folder: Path, port: int, method: str) -> None:
        model = folder / "model.hwb"
        variant().write(model)
        self.state = folder / "state"
        place = ["--bundle", str(model), "--fleet", FLEET, "--state-dir", str(self.state)]
        broker = ["--host", "127.0.0.1", "--port", str(port)]
        pace = ["--method", method, "--publish-interval-s", "0.05"]
        self._command = [sys.executable, "-m", "aggregator.cli", "serve", *place, *broker, *pace]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, preexec_fn=die_with_parent, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """SIGTERM, as systemd does; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=20)

    @contextmanager
    def store(self) -> Iterator[SqlStore]:
        """The store as it lies on the disk."""
        store = SqlStore(sqlite_url(self.state))
        with store.transaction():
            yield store
        store.close()


def cumulative_tables(model: Variant, device: str, seed: int) -> tuple[list[bytes], Statistics]:
    """Reports with counters 1, 2, ... and the last tables."""
    random = np.random.default_rng(seed)
    total = Statistics.zeros(model.features.size, model.classes, model.space)
    reports = []
    for counter in range(1, MESSAGES + 1):
        codes = random.integers(-127, 128, (8, model.features.size)).astype(np.int8)
        total = total + Statistics.of(codes, random.integers(0, 3, 8), model.classes, model.space)
        reports.append(StatisticsReport(device, 1, counter, total).encode())
    return reports, total


def updates(model: Variant, device: str) -> list[bytes]:
    delta: Float32 = np.full((len(model.classes), model.features.size + 1), 0.01, np.float32)
    return [
        Update(device, 1, sequence, 0, sequence, model.space, model.classes, delta).encode()
        for sequence in range(1, MESSAGES + 1)
    ]


@contextmanager
def running(broker: Broker, folder: Path, method: str) -> Iterator[tuple[Aggregator, Devices]]:
    service, devices = Aggregator(folder, broker.port, method), Devices(broker.port)
    service.start()
    try:
        yield service, devices
    finally:
        devices.stop()
        service.kill()


# one that forgets: as edge-fleet broker-config sets it up, it saves every five minutes
@pytest.mark.parametrize("victim", ["aggregator", "broker", "broker that forgets"])
def test_exact_head_is_bit_identical_after_kills(tmp_path: Path, victim: str) -> None:
    model, totals = variant(), []
    with (
        Broker(autosave=1_000_000 if "forgets" in victim else 1) as fresh_broker,
        running(fresh_broker, tmp_path, "exact") as (service, devices),
    ):
        for index in range(DEVICES):
            reports, total = cumulative_tables(model, f"d{index}", index)
            devices.add(f"d{index}", Kind.STATISTICS, reports)
            totals.append(total)
        for limit in (10, 25, 40):
            devices.run_until(lambda limit=limit: devices.acknowledged >= limit)  # type: ignore[misc]
            if victim != "aggregator":
                fresh_broker.kill()
                fresh_broker.start()
                continue
            service.kill()
            with service.store() as store:
                for device in devices.members.values():
                    row = store.statistics(device.name, 1)
                    assert (row.counter if row else 0) >= device.acknowledged, "acknowledged, and not on the disk"
            service.start()
        samples = merge(totals).samples
        devices.run_until(
            lambda: all(
                device.acknowledged == MESSAGES and device.head is not None and device.head.samples == samples
                for device in devices.members.values()
            )
        )
        expected = fleet_head(model.training_statistics, merge(totals))
        for device in devices.members.values():
            assert device.head is not None
            assert device.head.head.kernel.tobytes() == expected.kernel.tobytes()
            assert device.head.head.bias.tobytes() == expected.bias.tobytes()


@pytest.mark.parametrize("victim", ["aggregator", "broker"])
def test_every_update_counts_exactly_once_after_kills(fresh_broker: Broker, tmp_path: Path, victim: str) -> None:
    model = variant()
    with running(fresh_broker, tmp_path, "average") as (service, devices):
        for index in range(DEVICES):
            devices.add(f"d{index}", Kind.UPDATE, updates(model, f"d{index}"))
        for limit in (10, 25, 40):
            devices.run_until(lambda limit=limit: devices.acknowledged >= limit)  # type: ignore[misc]
            if victim == "broker":
                fresh_broker.kill()
                fresh_broker.start()
            else:
                service.kill()
                service.start()
        devices.run_until(lambda: devices.acknowledged == DEVICES * MESSAGES)
        assert service.terminate() == 0
        with service.store() as store:
            averaged = store.number("averaged_samples")
            waiting = sum(Update.decode(row.payload).samples for row in store.updates(model.space))
        assert averaged + waiting == DEVICES * sum(range(1, MESSAGES + 1))


def test_a_lost_store_comes_back_from_what_the_broker_retains(fresh_broker: Broker, tmp_path: Path) -> None:
    model = variant()
    with running(fresh_broker, tmp_path, "exact") as (service, devices):
        totals = []
        for index in range(DEVICES):
            reports, total = cumulative_tables(model, f"d{index}", index)
            devices.add(f"d{index}", Kind.STATISTICS, reports)
            totals.append(total)
        samples = merge(totals).samples
        first = devices.members["d0"]
        devices.run_until(
            lambda: (
                devices.acknowledged == DEVICES * MESSAGES and first.head is not None and first.head.samples == samples
            )
        )
        assert first.head is not None
        version = first.head.version
        service.kill()
        shutil.rmtree(service.state)
        service.start()
        devices.run_until(
            lambda: first.head is not None and first.head.version > version and first.head.samples == samples
        )
        expected = fleet_head(model.training_statistics, merge(totals))
        assert first.head.head.kernel.tobytes() == expected.kernel.tobytes()
        assert service.terminate() == 0
        with service.store() as store:
            for index in range(DEVICES):
                row = store.statistics(f"d{index}", 1)
                assert row is not None
                assert row.counter == MESSAGES


def test_sigterm_says_goodbye_and_a_restart_goes_on(fresh_broker: Broker, tmp_path: Path) -> None:
    model = variant()
    with running(fresh_broker, tmp_path, "exact") as (service, devices):
        reports, _ = cumulative_tables(model, "d0", 0)
        devices.add("d0", Kind.STATISTICS, reports)
        device = devices.members["d0"]
        devices.run_until(lambda: device.acknowledged == MESSAGES and device.head is not None)
        assert service.terminate() == 0
        seen: queue.Queue[TransportEvent] = queue.Queue()
        status = topic(FLEET, "_aggregator", Kind.STATUS)
        will = Outgoing(topic(FLEET, "watcher", Kind.STATUS), b"", retain=True)
        watcher = MqttTransport(
            MqttSettings(host="127.0.0.1", port=fresh_broker.port), "watcher", (status,), will, seen.put
        )
        watcher.start()
        try:
            greetings: list[Status] = []
            while len(greetings) < 2:
                event = seen.get(timeout=PATIENCE_S)
                if isinstance(event, Received):
                    greetings.append(Status.decode(event.payload))
                    if len(greetings) == 1:
                        service.start()
        finally:
            watcher.stop()
        assert greetings == [Status(online=False, boot=1), Status(online=True, boot=2)]
