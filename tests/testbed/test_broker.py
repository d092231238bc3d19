"""The broker of tests and demo: it starts, keeps what it must, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from testbed.broker import Broker, BrokerFailed
from testbed.mosquitto import MosquittoMissing, find_or_fetch

pytestmark = pytest.mark.broker


def publish_retained(broker: Broker, topic: str, payload: bytes) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.connect(broker.host, broker.port)
    client.loop_start()
    client.publish(topic, payload, qos=1, retain=True).wait_for_publish(5)
    client.disconnect()
    client.loop_stop()


def read_retained(broker: Broker, topic: str) -> bytes | None:
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    found: list[bytes] = []
    client.on_message = lambda _client, _data, message: found.append(bytes(message.payload))
    client.connect(broker.host, broker.port)
    client.subscribe(topic, qos=1)
    deadline = time.monotonic() + 5
    while not found and time.monotonic() < deadline:
        client.loop(0.05)
    client.disconnect()
    return found[0] if found else None


def test_a_retained_message_survives_restart_and_kill() -> None:
    with Broker() as broker:
        publish_retained(broker, "t/a", b"kept")
        broker.restart()
        assert read_retained(broker, "t/a") == b"kept"
        broker.kill()
        broker.start()
        assert read_retained(broker, "t/a") == b"kept"


def test_it_is_gone_afterwards() -> None:
    with Broker() as broker:
        pid = broker.pid
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_dies_with_a_parent_that_is_killed() -> None:
    script = (
        "from testbed.broker import Broker; import time\nwith Broker() as b: print(b.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if "Z" in Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]:
            break
        time.sleep(0.02)
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or " Z " in stat.read_text()


def test_a_bad_configuration_shows_the_log() -> None:
    with pytest.raises(BrokerFailed, match="did not listen"), Broker(extra="no_such_setting true"):
        pass


def test_nothing_to_find_and_nothing_to_fetch_with(tmp_path: Path) -> None:
    with pytest.raises(MosquittoMissing) as caught:
        find_or_fetch(tmp_path / "cache", path=str(tmp_path))
    message = str(caught.value)
    for command in ("apt install mosquitto", "brew install mosquitto", "pacman -S mosquitto"):
        assert command in message
    assert "\n" not in message


def test_one_on_the_path_is_used(tmp_path: Path) -> None:
    program = tmp_path / "mosquitto"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_or_fetch(tmp_path / "cache", path=str(tmp_path)).program == program
