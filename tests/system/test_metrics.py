"""The real aggregator answers scrapes while it serves, and ends in time with a scraper that does not read."""

from __future__ import annotations

import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from testbed.broker import Broker, die_with_parent
from tests.headway.bundles import small_variant
from tests.system.conftest import BIN, wait_until

pytestmark = [pytest.mark.system, pytest.mark.broker]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_running_service_is_scraped(tmp_path: Path, broker: Broker) -> None:
    (tmp_path / "small.hwb").write_bytes(small_variant().encode())
    port, config = free_port(), tmp_path / "aggregator.toml"
    config.write_text(
        '[fleet]\nname = "scraped"\n[bundle]\npath = "small.hwb"\n[storage]\nstate_dir = "state"\n[mqtt]\n'
        f'host = "{broker.host}"\nport = {broker.port}\n[metrics]\nport = {port}\n'
    )
    with (tmp_path / "log").open("wb") as log:
        command = [str(BIN / "edge-fleet"), "serve", "--config", str(config)]
        service = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)
    text = ""

    def scraped() -> bool:
        nonlocal text
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (ConnectionError, urllib.error.URLError):
            return False
        return "headway_broker_connected 1.0" in text and "headway_snapshot_timestamp_seconds" in text

    try:
        wait_until(scraped, "metrics of a service with a connection")
        assert "headway_devices 0.0" in text
        assert "headway_store_transaction_seconds_count" in text
        with socket.create_connection(("127.0.0.1", port), timeout=5) as unread:
            unread.sendall(b"GET /metrics HTTP/1.1\r\n")
            service.terminate()
            assert service.wait(20) == 0
    finally:
        service.kill()
        service.wait()
