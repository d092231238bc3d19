"""Workers killed at random, with real mosquitto and PostgreSQL: what was acknowledged is in the sum, and nothing twice.

mosquitto drops what a killed worker had not confirmed. What repairs that is the device, which sends again what has no
ack: so do the devices here.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aggregator.store.sql import SqlStore
from headway.errors import ConfigError
from headway.maths import Statistics
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Outgoing, Received, TransportEvent
from headway.wire import ALL, Ack, Kind, PublishedHead, StatisticsReport, topic
from headway_simulation.model import Model
from testbed.broker import Broker, die_with_parent
from testbed.postgresql import Postgresql
from tests.system.conftest import BIN, wait_until

pytestmark = [pytest.mark.system, pytest.mark.broker]
FLEET, CLASSES, SIZE = "plant", ("idle", "run"), 6
DEVICES, ROUNDS, KILLS = 20, 8, 4
# a device of the real fleet waits longer
RETRY_S = 1.0
TAKE_OVER_S = 10.0


class Program:
    """A process of edge-fleet and its log."""

    def __init__(self, folder: Path, *arguments: str, config: str = "aggregator.toml") -> None:
        self._command = [str(BIN / "edge-fleet"), *arguments, "--config", str(folder / config)]
        self.log = folder / f"{'-'.join(arguments).replace('--', '')}-{config}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, word: str) -> None:
        """Returns when its log says `word` once more."""
        seen = self.log.read_text().count(word) if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, preexec_fn=die_with_parent)
        self.wait_for(word, seen)

    def wait_for(self, word: str, seen: int = 0) -> None:
        """Returns when its log says `word` more often than `seen`."""
        wait_until(lambda: self.log.read_text().count(word) > seen, f"{word!r} in {self.log}")

    def kill(self) -> None:
        """Without a word, wherever it is."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()


class Devices:
    """Many devices on one connection: each sends its newest report until it has the ack of it."""

    def __init__(self, broker: Broker, space: str) -> None:
        self._space, self._random = space, np.random.default_rng(8)
        self._tables = [Statistics.zeros(SIZE, CLASSES, space)] * DEVICES
        self._counters, self.acked, self._sent_s = [0] * DEVICES, [0] * DEVICES, [0.0] * DEVICES
        self._events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
        listens = (f"headway/v1/{FLEET}/+/ack", topic(FLEET, ALL, Kind.HEAD))
        settings = MqttSettings(host=broker.host, port=broker.port, receive_max=1000)
        self._transport = MqttTransport(settings, "devices", listens, None, self._events.put)
        self._transport.start()
        while not isinstance(self._events.get(timeout=30), Connected):
            pass
        self.head_samples = 0

    def learn(self) -> None:
        """Every device has more labels, whether or not the last were acknowledged."""
        for index in range(DEVICES):
            codes = self._random.integers(-127, 128, (3, SIZE)).astype(np.int8)
            labels = self._random.integers(0, len(CLASSES), 3)
            self._tables[index] = self._tables[index] + Statistics.of(codes, labels, CLASSES, self._space)
            self._counters[index] += 1
            self._sent_s[index] = 0.0

    def turn(self) -> bool:
        """Send what is due, hear what has come; whether everything is acknowledged."""
        for index in range(DEVICES):
            if self.acked[index] < self._counters[index] and time.monotonic() - self._sent_s[index] > RETRY_S:
                name = f"d{index:02d}"
                report = StatisticsReport(name, 1, self._counters[index], self._tables[index])
                self._transport.publish(Outgoing(topic(FLEET, name, Kind.STATISTICS), report.encode()))
                self._sent_s[index] = time.monotonic()
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get(timeout=0.02)
                if isinstance(event, Received) and event.topic.endswith("/head"):
                    self.head_samples = PublishedHead.decode(event.payload).samples
                elif isinstance(event, Received):
                    index = int(event.topic.split("/")[3][1:])
                    self.acked[index] = max(self.acked[index], Ack.decode(event.payload).counter)
        return self.acked == self._counters

    @property
    def total(self) -> Statistics:
        total = self._tables[0]
        for tables in self._tables[1:]:
            total = total + tables
        return total

    def close(self) -> None:
        self._transport.stop()


@pytest.fixture
def folder(tmp_path: Path, fresh_broker: Broker, postgresql: Postgresql) -> Path:
    variant = Model(SIZE, CLASSES).variant
    variant.write(tmp_path / "plant.hwb")
    (tmp_path / "aggregator.toml").write_text(
        f'[fleet]\nname = "{FLEET}"\n[bundle]\npath = "plant.hwb"\n[publish]\ninterval_s = 0.1\nprior_devices_min = 0\n'
        f'[storage]\nstate_dir = "state"\ndatabase_url = {json.dumps(postgresql.new_database())}\n'
        f"[workers]\nenabled = true\n[outliers]\ndevices_min = 0\n"
        f'[mqtt]\nhost = "{fresh_broker.host}"\nport = {fresh_broker.port}\nreconnect_max_s = 0.5\n'
    )
    same = (tmp_path / "aggregator.toml").read_text()
    (tmp_path / "standby.toml").write_text(same.replace('"state"', '"state-2"'))
    return tmp_path


@pytest.fixture
def programs(folder: Path) -> Iterator[list[Program]]:
    """The publisher, the one that stands by, and two workers."""
    servers = [Program(folder, "serve"), Program(folder, "serve", config="standby.toml")]
    made = [*servers, *(Program(folder, "worker", "--name", name) for name in ("w1", "w2"))]
    yield made
    for program in made:
        program.kill()


def test_workers_killed_at_random_lose_nothing_and_count_nothing_twice(
    folder: Path, programs: list[Program], fresh_broker: Broker
) -> None:
    publisher, standby, *workers = programs
    publisher.start(" serving, boot 1")
    standby.start("standing by")
    for worker in workers:
        worker.start("connected to the broker")
    random, kills = np.random.default_rng(1), 0
    devices = Devices(fresh_broker, Model(SIZE, CLASSES).variant.space)
    try:
        for step in range(ROUNDS):
            devices.learn()
            devices.turn()
            if step % 2 == 0 and kills < KILLS:
                # reports are in its window, in its transaction, or answered; at last it is the publisher
                victim = publisher if kills == KILLS - 1 else workers[int(random.integers(0, 2))]
                time.sleep(float(random.random() * 0.05))
                victim.kill()
                kills += 1
                if victim is publisher:
                    killed_s = time.monotonic()
                    standby.wait_for(" serving, boot 2")
                    assert time.monotonic() - killed_s < TAKE_OVER_S
                else:
                    victim.start("connected to the broker")
        wait_until(devices.turn, "every report acknowledged")
        samples = 3 * DEVICES * ROUNDS
        wait_until(lambda: devices.turn() and devices.head_samples == samples, f"a head of {samples} samples")
    finally:
        devices.close()
    assert kills == KILLS
    verified = subprocess.run(
        [str(BIN / "edge-fleet"), "verify", "--config", str(folder / "aggregator.toml")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"{DEVICES} stored reports" in verified.stdout
    (line,) = [line for line in (folder / "aggregator.toml").read_text().splitlines() if line.startswith("database")]
    store = SqlStore(json.loads(line.split(" = ", 1)[1]))
    with store.transaction():
        stored = [StatisticsReport.decode_stored(row.payload) for row in store.every_statistics(devices.total.space)]
    store.close()
    total = Statistics.zeros(SIZE, CLASSES, devices.total.space)
    for report in stored:
        total = total + report.statistics
    assert total == devices.total
    assert {report.counter for report in stored} == {ROUNDS}


def test_a_worker_without_a_publisher_stops_in_one_line(folder: Path, programs: list[Program]) -> None:
    configuration = (folder / "aggregator.toml").read_text()
    (folder / "aggregator.toml").write_text(configuration.replace("enabled = true", "enabled = false"))
    command = [str(BIN / "edge-fleet"), "worker", "--name", "w1", "--config", str(folder / "aggregator.toml")]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert refused.returncode == ConfigError.exit_code
    assert "[workers] enabled = true" in refused.stderr
