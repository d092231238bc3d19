"""The real aggregator is killed between the change of an alert and its telling: each event is told once by its id."""

from __future__ import annotations

import base64
import json
import queue
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from aggregator.store import RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import ALERT_CHANNELS, ALERT_EVENTS, QUARANTINED, QuarantineRow
from aggregator.store.sql import SqlStore
from headway.mqtt import MqttSettings
from headway.mqtt.transport import MqttTransport
from headway.ports import Outgoing, Received, SystemClock, TransportEvent
from headway.wire import alert_topic
from testbed.broker import Broker, die_with_parent
from testbed.receivers import WebhookReceiver, status
from tests.headway.bundles import small_variant
from tests.system.conftest import BIN, wait_until

pytestmark = pytest.mark.system


@pytest.mark.broker
def test_open_alerts_are_retained_on_the_broker_and_cleared(tmp_path: Path, broker: Broker) -> None:
    (tmp_path / "small.hwb").write_bytes(small_variant().encode())
    config = tmp_path / "aggregator.toml"
    config.write_text(
        '[fleet]\nname = "watched"\n[bundle]\npath = "small.hwb"\n[storage]\nstate_dir = "."\n[mqtt]\n'
        f'host = "{broker.host}"\nport = {broker.port}\n[alerts]\ninterval_s = 1.0\nmqtt = true\n'
    )
    store = SqlStore(sqlite_url(tmp_path))
    now_s = SystemClock().wall_s()
    with store.transaction():
        store.registry.put([RegistryRow("pump-1", now_s - 1e5, now_s - 1e4)])
    events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
    name = alert_topic("watched", "device-silent", "pump-1")
    settings = MqttSettings(host=broker.host, port=broker.port, session_expiry_s=0)
    watcher = MqttTransport(settings, "alerts-watcher", (name,), Outgoing("watcher/gone", b""), events.put)
    payloads: list[bytes] = []

    def heard(count: int) -> bool:
        while not events.empty():
            event = events.get()
            payloads.extend([event.payload] if isinstance(event, Received) else [])
        return len(payloads) >= count

    with (tmp_path / "log").open("wb") as log:
        command = [str(BIN / "edge-fleet"), "serve", "--config", str(config)]
        service = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)
    watcher.start()
    try:
        wait_until(lambda: heard(1), "the alert")
        told = json.loads(payloads[0])
        assert (told["rule"], told["subject"], told["state"]) == ("device-silent", "pump-1", "open")
        with store.transaction():
            store.registry.put([RegistryRow("pump-1", now_s, SystemClock().wall_s())])
        wait_until(lambda: heard(2) and payloads[-1] == b"", "the end of the alert")
        # gone once the broker has said so
        wait_until(lambda: not _clearings(store), "the broker's answer")
    finally:
        watcher.stop()
        service.terminate()
        assert service.wait(20) == 0
        store.close()


def _clearings(store: SqlStore) -> list[str]:
    with store.transaction():
        return store.clearings()


def test_alerts_survive_kills_and_are_told_once_by_their_ids(tmp_path: Path) -> None:
    (tmp_path / "small.hwb").write_bytes(small_variant().encode())
    (tmp_path / "secret").write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = SqlStore(sqlite_url(tmp_path))
    with WebhookReceiver() as receiver:
        config = tmp_path / "aggregator.toml"
        config.write_text(
            f'[fleet]\nname = "plant"\n[bundle]\npath = "small.hwb"\n[storage]\nstate_dir = "."\n[mqtt]\n'
            f'host = "127.0.0.1"\nport = {port}\n[alerts]\ninterval_s = 1.0\n[webhook]\nurl = "{receiver.url}"\n'
            f'secret_file = "secret"\n'
        )

        def serve() -> subprocess.Popen[bytes]:
            command = [str(BIN / "edge-fleet"), "serve", "--config", str(config)]
            with (tmp_path / "log").open("ab") as log:
                return subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)

        def set_aside(*names: str) -> None:
            now_s = SystemClock().wall_s()
            with store.transaction():
                store.registry.put([RegistryRow(name, now_s, now_s) for name in names])
                for name in names:
                    store.rows(QUARANTINED).put(QuarantineRow(name, 7, "its sums cannot be", now_s))

        def heard() -> set[str]:
            """Names of messages that were answered with 2xx."""
            return {posted.headers["webhook-id"] for posted in taken}

        taken = []

        def take_and(then: threading.Event | None, process: subprocess.Popen[bytes] | None) -> None:
            def answer(handler: BaseHTTPRequestHandler) -> None:
                if process is not None and then is None:
                    # killed before it hears an answer
                    process.kill()
                    process.wait()
                    return
                taken.append(receiver.posted[-1])
                status(204)(handler)
                if process is not None:
                    # killed after the answer left, most likely before that is noted
                    process.kill()
                    process.wait()

            receiver.script.put(answer)

        set_aside("pump-1")
        for round_ in range(2):
            running = serve()
            try:
                before = len(receiver.posted)
                take_and(None if round_ == 0 else threading.Event(), running)
                set_aside(f"valve-{round_}")
                wait_until(lambda: running.poll() is not None, "the kill")  # noqa: B023
                assert len(receiver.posted) > before
            finally:
                running.kill()
                running.wait()
        set_aside("pump-2", "pump-3")
        for _ in range(20):
            take_and(threading.Event(), None)
        running = serve()
        try:

            def told() -> bool:
                with store.transaction():
                    row = store.rows(ALERT_CHANNELS).get("webhook")
                    return row is not None and row.told == store.number("alert_events") == 5

            wait_until(told, "everything to be told")
        finally:
            running.terminate()
            assert running.wait(20) == 0
    with store.transaction():
        events = store.rows(ALERT_EVENTS).all()
    store.close()
    bodies: dict[str, set[bytes]] = {}
    for posted in receiver.posted:
        bodies.setdefault(posted.headers["webhook-id"], set()).add(posted.body)
    # the same message is the same bytes each time, and each event is in one message alone
    assert all(len(each) == 1 for each in bodies.values())
    assert len(receiver.posted) > len(bodies)
    assert heard() == set(bodies)
    told_ids = [event["id"] for (body,) in bodies.values() for event in json.loads(body)["events"]]
    assert sorted(told_ids) == sorted(event.id for event in events)
    subjects = [event["alert"]["subject"] for (body,) in bodies.values() for event in json.loads(body)["events"]]
    assert sorted(subjects) == ["pump-1", "pump-2", "pump-3", "valve-0", "valve-1"]
    assert b"t0psecret" not in (tmp_path / "log").read_bytes()
