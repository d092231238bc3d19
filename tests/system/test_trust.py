"""Seals and removals over the real programs: what a broker hands out, and what a backup brings back."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.bundle import read_variant
from headway.mqtt.settings import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Outgoing
from headway.wire import ALL, TENSORS_TYPE, Kind, PublishedHead, topic
from testbed.broker import Broker
from tests.system.conftest import BIN, Device, wait_until
from tests.system.make_model import data
from tests.system.test_agent import status
from tests.system.test_backup import edge_fleet, stored
from tests.system.test_fleet import heads_of

pytestmark = [pytest.mark.system, pytest.mark.broker]
HEAD = topic("test", ALL, Kind.HEAD)


@contextmanager
def publishing(broker: Broker) -> Iterator[Callable[[bytes], None]]:
    """Somebody else who may publish heads on this broker."""
    settings = MqttSettings(host=broker.host, port=broker.port, session_expiry_s=0)
    transport = MqttTransport(settings, "intruder", (), Outgoing("intruder/gone", b""), lambda event: None)
    transport.start()

    def publish(payload: bytes) -> None:
        message = Outgoing(HEAD, payload, retain=True, content_type=TENSORS_TYPE)
        wait_until(lambda: transport.publish(message) is not None, "a connection")

    yield publish
    transport.stop()


def test_a_device_takes_the_heads_of_its_servers_key_alone_and_of_the_next_key_when_that_changes(
    new_device: Callable[..., Device], fresh_broker: Broker, bundle: Path, tmp_path: Path
) -> None:
    state_dir, config = tmp_path / "aggregator", tmp_path / "aggregator.toml"
    for name in ("heads.pem", "next.pem"):
        edge_fleet("keygen", tmp_path / name)
    keys = tmp_path / "keys.pub"
    keys.write_text((tmp_path / "heads.pem.pub").read_text())

    def serve(key: str) -> subprocess.Popen[bytes]:
        config.write_text(
            f'[fleet]\nname = "test"\n[bundle]\npath = "{bundle}"\n[storage]\nstate_dir = "{state_dir}"\n'
            f'[publish]\ninterval_s = 0.1\nsigning_key = "{tmp_path / key}"\n'
            f'[mqtt]\nhost = "{fresh_broker.host}"\nport = {fresh_broker.port}\n'
        )
        return subprocess.Popen([BIN / "edge-fleet", "serve", "--config", config], stderr=subprocess.DEVNULL)

    def version() -> int:
        found = status(device)["fleet_head_version"]
        assert isinstance(found, int)
        return found

    device = new_device("pump", fresh_broker, extra=f'head_keys = "{keys}"\n')
    x, y = data(60, seed=3)
    server = serve("heads.pem")
    try:
        device.start()
        device.drop("first", x=x[:20], y=y[:20])
        wait_until(lambda: "first" in device.answers(), "the answers")
        wait_until(lambda: version() >= 1, "a sealed head")
        with heads_of(fresh_broker) as head, publishing(fresh_broker) as publish:
            wait_until(lambda: head() is not None, "the head on the broker")
            ours = head()
            assert ours is not None
            forged = replace(ours, version=ours.version + 1000)
            publish(forged.encode())
            log = device.folder / "log"
            wait_until(lambda: "the head has no seal" in log.read_text(), "the forged head refused")
            assert version() < forged.version
            wait_until(lambda: (head() or forged).version < forged.version, "the server's own head in its place")
        keys.write_text(keys.read_text() + (tmp_path / "next.pem.pub").read_text())
        assert device.process is not None
        device.process.send_signal(signal.SIGHUP)
        device.drop("second", x=x[20:40], y=y[20:40])
        wait_until(lambda: "second" in device.answers(), "a turn of the device after the signal")
        server.terminate()
        server.wait(60)
        before = version()
        server = serve("next.pem")
        device.drop("third", x=x[40:], y=y[40:])
        wait_until(lambda: version() > before, "a head under the next key")
        assert device.stop() == 0
    finally:
        server.kill()
        server.wait()


def test_a_backup_from_before_a_removal_does_not_bring_the_device_back(
    new_device: Callable[..., Device],
    aggregator: Callable[[Broker], subprocess.Popen[bytes]],
    fresh_broker: Broker,
    bundle: Path,
    tmp_path: Path,
) -> None:
    state_dir, backup, space = tmp_path / "aggregator", tmp_path / "fleet.backup", read_variant(bundle).space
    server = aggregator(fresh_broker)
    devices = [new_device(name, fresh_broker) for name in ("gone", "stays")]
    x, y = data(40, seed=5)
    with heads_of(fresh_broker) as head:

        def counted() -> int:
            found: PublishedHead | None = head()
            return 0 if found is None else found.samples

        for number, device in enumerate(devices):
            device.drop("all", x=x[20 * number : 20 * number + 20], y=y[20 * number : 20 * number + 20])
            device.start()
        wait_until(lambda: counted() == 40, "40 samples")
        assert [device.stop() for device in devices] == [0, 0]
        edge_fleet("backup", backup, "--state-dir", state_dir)
        assert "removal 1" in edge_fleet("forget", "gone", "--state-dir", state_dir)
        wait_until(lambda: counted() == 20, "a head without the device")
        server.kill()
        server.wait()
        edge_fleet("restore", backup, "--state-dir", state_dir)
        assert set(stored(state_dir, space)) == {"gone", "stays"}, "the backup knows it"
        without = head()
        aggregator(fresh_broker)
        wait_until(lambda: set(stored(state_dir, space)) == {"stays"}, "the removal carried out once more")
        assert "removal 1" in edge_fleet("removals", "--state-dir", state_dir)
        wait_until(lambda: (head() or without) != without, "a head of the restored server")
        assert counted() == 20
    store = SqlStore(sqlite_url(state_dir))
    with store.transaction():
        assert store.head(space) is not None
    store.close()
