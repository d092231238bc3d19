"""Agents, broker and aggregator together: whatever is killed, every label is counted exactly once."""

from __future__ import annotations

import json
import queue
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edge_agent.pipeline import Pipeline
from edge_agent.runtime import open_runtime
from headway.bundle.variant import read_variant
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Outgoing, Received, TransportEvent
from headway.wire.messages import PublishedHead
from headway.wire.topics import ALL, Kind, topic
from testbed.broker import Broker
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import CLASSES, data

pytestmark = [pytest.mark.system, pytest.mark.broker]
NewDevice = Callable[..., Device]
StartAggregator = Callable[[Broker], "subprocess.Popen[bytes]"]


@contextmanager
def heads_of(broker: Broker, readers: str = ALL, fleet: str = "test") -> Iterator[Callable[[], PublishedHead | None]]:
    """Follow the published head like any client of the broker; readers: of everybody, or of one feature space."""
    events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
    settings = MqttSettings(host=broker.host, port=broker.port, reconnect_max_s=0.5, session_expiry_s=0)
    name = topic(fleet, readers, Kind.HEAD)
    transport = MqttTransport(settings, f"watcher-{fleet}{readers}", (name,), Outgoing("watcher/gone", b""), events.put)
    newest: list[PublishedHead] = []

    def look() -> PublishedHead | None:
        while not events.empty():
            event = events.get()
            if isinstance(event, Received) and event.payload:
                newest.append(PublishedHead.decode(event.payload))
        return newest[-1] if newest else None

    transport.start()
    try:
        yield look
    finally:
        transport.stop()


def solved_in_one_place(bundle: Path, x: np.ndarray, y: np.ndarray) -> bytes:
    variant = read_variant(bundle)
    codes = Pipeline(variant, open_runtime(variant)).features(x).codes
    head = fleet_head(variant.training_statistics, Statistics.of(codes, y, CLASSES, variant.space))
    return head.kernel.tobytes() + head.bias.tobytes()


def listed(state_dir: Path, wanted: str) -> list[str]:
    """What ``edge-fleet devices --filter`` finds beside the running service."""
    command = [str(BIN / "edge-fleet"), "devices", "--state-dir", str(state_dir), "--filter", wanted, "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [row["device"] for row in json.loads(found)]


def test_everything_is_killed_in_turn_and_every_label_counts_once(
    new_device: NewDevice, aggregator: StartAggregator, fresh_broker: Broker, bundle: Path, tmp_path: Path
) -> None:
    broker = fresh_broker
    server = aggregator(broker)
    attributes = '[device.attributes]\nroom = "cellar"\n'
    devices = [new_device(f"d{number}", broker, extra=attributes) for number in range(3)]
    x, y = data(3 * 40, seed=8)
    for device in devices:
        device.start()
    shares = np.array_split(np.arange(len(x)), 3)

    def feed(step: int) -> None:
        for device, share in zip(devices, shares, strict=True):
            rows = share[step * 8 : step * 8 + 8]
            device.drop(f"s{step}", x=x[rows], y=y[rows])

    with heads_of(broker) as head:

        def counted() -> int:
            found = head()
            return 0 if found is None else found.samples

        feed(0)
        wait_until(lambda: counted() == 24, "24 samples")
        broker.kill()
        feed(1)
        broker.start()
        wait_until(lambda: counted() == 48, "48 samples after the broker was killed")
        server.kill()
        server.wait()
        feed(2)
        devices[0].kill()
        aggregator(broker)
        wait_until(lambda: counted() >= 64, "the others' samples after the aggregator was killed")
        devices[0].start()
        feed(3)
        broker.restart()
        feed(4)
        wait_until(lambda: counted() == 120, "all 120 samples")
        found = head()
        wanted = (
            'learning == "on" and disk_free > 1MB and attribute.room == "cellar" and scored == 40 and not refused > 9'
        )
        wait_until(lambda: listed(tmp_path / "aggregator", wanted) == ["d0", "d1", "d2"], "what the registry says")
    assert found is not None
    assert (found.samples, found.devices) == (120, 3)
    assert found.head.kernel.tobytes() + found.head.bias.tobytes() == solved_in_one_place(bundle, x, y)
    assert [device.stop() for device in devices] == [0, 0, 0]


def test_gradient_updates_arrive_once_and_move_the_fleet(
    new_device: NewDevice, tmp_path: Path, fresh_broker: Broker, aggregator: StartAggregator
) -> None:
    device = new_device("g", fresh_broker, extra='[learner]\nkind = "gradient"\nupdate_labels = 8\n')
    x, y = data(32, seed=9)
    device.drop("a", x=x, y=y)
    server = aggregator(fresh_broker)
    result = device.once()
    assert result.returncode == 0, result.stderr
    from edge_agent.store.store import SQLiteStore

    assert SQLiteStore(device.folder / "state" / "agent.sqlite", read_only=True).outbox_size() == (0, 0)
    assert server.poll() is None
