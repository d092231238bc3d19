"""What a device tells of its machine: when, what, and that a machine that tells nothing is no fault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from aggregator.registry import device_view
from edge_agent.config import read_config
from edge_agent.health import HealthReports, LinuxMachineHealth
from edge_agent.health_settings import HealthSettings
from edge_agent.startup import Opened, build_device, open_agent
from edge_agent.store import open_store
from headway.errors import ConfigError
from headway.ports import Connected, Disconnected, Received, Response
from headway.wire import Health, Kind, topic
from tests.aggregator.fleets import FLEET, Fleet
from tests.device import Device, RecordingTransport
from tests.edge_agent.variants import pipeline, variant


@dataclass
class Machine:
    """Implements `edge_agent.health.MachineHealth`."""

    disk: int | None = 10**9
    temperature: float | None = 40.5

    def disk_free_bytes(self) -> int | None:
        return self.disk

    def memory_free_bytes(self) -> int | None:
        return 10**8

    def temperature_c(self) -> float | None:
        return self.temperature


def test_a_message_is_due_at_a_slow_pace_when_learning_stops_and_on_a_new_connection() -> None:
    machine = Machine()
    subject = HealthReports(HealthSettings(interval_s=900.0, attributes={"site": "north"}), machine)
    first = subject.due(100.0, False)
    assert first is not None
    assert Health.decode(first) == Health("on", 10**9, 10**8, 40.5, {"site": "north"})
    assert subject.due(101.0, False) is None
    paused = subject.due(102.0, True)
    assert paused is not None
    assert Health.decode(paused).learning == "paused"
    assert subject.due(1001.9, True) is None
    assert subject.due(1002.0, True) is not None
    subject.reconnected()
    machine.disk = machine.temperature = None
    again = subject.due(1003.0, True)
    assert again is not None
    assert Health.decode(again) == Health("paused", None, 10**8, None, {"site": "north"})


def test_a_device_tells_it_with_a_connection_and_the_registry_keeps_it(tmp_path: Path) -> None:
    place = Device(tmp_path)
    place.loop.stop()
    place.loop.store.current.close()
    wire, store = RecordingTransport(), open_store(place.state)
    health = HealthReports(HealthSettings(attributes={"room": "cellar"}), Machine())
    loop = build_device(
        place.config,
        place.clock,
        Opened(variant(), pipeline(), store, None, open_agent(place.config, variant(), store)),
        place.loop._sensor,
        connect=lambda last_will: wire,
        health=health,
    )
    loop.start()
    loop.turn()
    assert wire.of(Kind.HEALTH) == [], "nobody would hear it"
    for _ in range(2):
        loop.handle(Connected(False))
        place.clock.now_s += 2.0
        loop.turn()
        place.clock.now_s += 2.0
        loop.turn()
        loop.handle(Disconnected("gone", Response.RETRY, 0))
    assert len(wire.of(Kind.HEALTH)) == 2
    loop.stop()
    loop.store.current.close()
    fleet = Fleet()
    fleet.send(Received(topic(FLEET, "pump", Kind.HEALTH), wire.of(Kind.HEALTH)[0]))
    with fleet.store.transaction():
        view = device_view(fleet.store, "pump")
    assert (view.row.learning, view.row.disk_free_bytes, view.row.temperature_c) == ("on", 10**9, 40.5)
    assert view.attributes == {"room": "cellar"}
    changed = Health("paused", attributes={"site": "north"})
    fleet.send(Received(topic(FLEET, "pump", Kind.HEALTH), changed.encode()))
    with fleet.store.transaction():
        view = device_view(fleet.store, "pump")
    assert (view.row.learning, view.row.disk_free_bytes, view.attributes) == ("paused", None, {"site": "north"})


def test_a_linux_machine_tells_what_it_knows(tmp_path: Path) -> None:
    subject = LinuxMachineHealth(tmp_path, tmp_path)
    free = subject.disk_free_bytes()
    assert free is not None
    assert free > 0
    assert (subject.memory_free_bytes(), subject.temperature_c()) == (None, None)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal:  2000 kB\nMemAvailable:    1000 kB\n")
    assert subject.memory_free_bytes() == 1_024_000
    assert LinuxMachineHealth(tmp_path / "none", tmp_path).disk_free_bytes() is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('"a b" = "x"', "attribute 'a b' of [device.attributes] is not a valid name"),
        ('a = "\\u001b[2J"', "attribute a of [device.attributes] must be a printable text of at most 128 characters"),
        (f'a = "{"x" * 129}"', "attribute a of [device.attributes] must be a printable text"),
        ("a = 3", "attributes of device of agent.toml maps 'a' to 3; give a text"),
        ("\n".join(f'a{n} = "x"' for n in range(17)), "[device.attributes] has 17 attributes; at most 16 are taken"),
    ],
)
def test_attributes_that_no_aggregator_takes_are_refused_at_the_start(tmp_path: Path, lines: str, message: str) -> None:
    text = '[device]\nid = "pump"\n[bundle]\npath = "m.hwb"\n[storage]\nstate_dir = "s"\n[device.attributes]\n'
    (tmp_path / "agent.toml").write_text(text + 'site = "north"\n')
    assert read_config(tmp_path / "agent.toml").health.attributes == {"site": "north"}
    (tmp_path / "agent.toml").write_text(text + lines + "\n")
    with pytest.raises(ConfigError) as caught:
        read_config(tmp_path / "agent.toml")
    assert message in str(caught.value)
