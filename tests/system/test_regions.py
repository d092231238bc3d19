"""Two regions and their parent, three real servers: one sum at the root, which a killed region does not change."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headway.maths import Statistics
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Connected, Outgoing, TransportEvent
from headway.wire import Kind, StatisticsReport, topic
from headway_simulation.model import Model
from testbed.broker import Broker
from tests.system.conftest import BIN, wait_until
from tests.system.test_fleet import heads_of
from tests.system.test_workers import CLASSES, SIZE, Program

pytestmark = [pytest.mark.system, pytest.mark.broker]
REGIONS = ("europe", "asia")


@pytest.fixture
def servers(tmp_path: Path, fresh_broker: Broker) -> Iterator[dict[str, Program]]:
    """The parent's fleet is named test; every server has a folder and a fleet of its own, all one broker."""
    address = f'host = "{fresh_broker.host}"\nport = {fresh_broker.port}\nreconnect_max_s = 0.5\n'
    made = {}
    for name in ("test", *REGIONS):
        folder = tmp_path / name
        folder.mkdir()
        Model(SIZE, CLASSES).variant.write(folder / "plant.hwb")
        region = f'[region]\nname = "{name}"\nfleet = "test"\ninterval_s = 0.2\n[parent]\n{address}'
        (folder / "aggregator.toml").write_text(
            f'[fleet]\nname = "{name}"\n[bundle]\npath = "plant.hwb"\n[publish]\ninterval_s = 0.1\n[storage]\n'
            f'state_dir = "state"\n[weighing]\ndevices_min = 0\nsamples_max = 100_000_000\n[mqtt]\n{address}'
            f"{region if name in REGIONS else ''}"
        )
        made[name] = Program(folder, "serve")
        made[name].start(" serving, boot 1")
    yield made
    for program in made.values():
        program.kill()


def test_the_parent_has_the_sum_of_all_devices_and_they_get_its_head(
    servers: dict[str, Program], tmp_path: Path, fresh_broker: Broker
) -> None:
    space, random = Model(SIZE, CLASSES).variant.space, np.random.default_rng(2)
    connected: list[TransportEvent] = []
    settings = MqttSettings(host=fresh_broker.host, port=fresh_broker.port)
    transport = MqttTransport(settings, "devices", (), None, connected.append)
    transport.start()
    wait_until(lambda: any(isinstance(event, Connected) for event in connected), "a connection")

    def report(region: str, device: str, counter: int) -> None:
        codes = random.integers(-127, 128, (10 * counter, SIZE)).astype(np.int8)
        tables = Statistics.of(codes, random.integers(0, len(CLASSES), len(codes)), CLASSES, space)
        payload = StatisticsReport(device, 1, counter, tables).encode()
        transport.publish(Outgoing(topic(region, device, Kind.STATISTICS), payload, retain=True))

    def remove(region: str, device: str) -> None:
        command = [str(BIN / "edge-fleet"), "remove", device, "--config", str(tmp_path / region / "aggregator.toml")]
        subprocess.run(command, check=True, capture_output=True)

    with heads_of(fresh_broker) as head, heads_of(fresh_broker, fleet="europe") as europes:

        def counts(samples: int) -> bool:
            above, below = head(), europes()
            found = above is not None and above.samples == samples
            return found and below is not None and above is not None and below.head.same_as(above.head)

        for region in REGIONS:
            for device in ("d1", "d2"):
                report(region, device, 1)
        wait_until(lambda: counts(40), "40 samples at the root, and its head in a region")
        servers["europe"].kill()
        report("europe", "d1", 3)
        report("asia", "d1", 2)
        servers["europe"].start(" serving, boot 2")
        wait_until(lambda: counts(70), "70 samples at the root")
        remove("asia", "d2")
        wait_until(lambda: counts(60), "60 samples at the root after a removal below it")
    transport.stop()
