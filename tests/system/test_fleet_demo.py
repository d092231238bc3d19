"""make fleet-demo comes up with a handful of agents, lets a person in, and ends without a trace."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from demo.live import AGENT_BYTES, devices_that_fit
from tests.system.conftest import wait_until

DEVICES = 3


def test_only_as_many_agents_start_as_the_memory_holds(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    for available, count in ((10 * AGENT_BYTES, 10), (10**12, 50), (1000, 1)):
        meminfo.write_text(f"MemTotal: 1 kB\nMemAvailable:   {available // 1024} kB\n")
        assert devices_that_fit(50, meminfo) == count


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.broker
def test_the_demo_comes_up_learns_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("seglearn", reason="the demo's data comes with seglearn (extra demo)")
    command = [sys.executable, "-m", "demo.live", "--devices", str(DEVICES), "--cache", str(tmp_path / "cache")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    assert demo.stdout is not None
    threading.Thread(target=lambda: said.extend(iter(demo.stdout.readline, "")), daemon=True).start()
    try:
        wait_until(lambda: "password" in "".join(said) or demo.poll() is not None, "the log-in")
        text = "".join(said)
        address, password = re.search(r"http://\S+", text), re.search(r"password +(\S+)", text)
        assert address is not None, text
        assert password is not None
        token = asked(address[0] + "/v1/login", b"", Basic=f"demo:{password[1]}")["token"]

        def learns() -> bool:
            rows = asked(address[0] + "/v1/devices", None, Bearer=token)["devices"]
            assert demo.poll() is None, said
            return len(rows) == DEVICES and all(row["link"] == "online" and row["labels"] > 0 for row in rows)

        wait_until(learns, "labels of every device")
        folders = [path for path in Path("/proc").glob("[0-9]*/cmdline") if started_by_us(path)]
        assert len(folders) == DEVICES + 2
    finally:
        demo.send_signal(signal.SIGINT)
        code = demo.wait(60)
    assert code == 0, said
    assert "everything is stopped" in "".join(said)
    assert not [path for path in folders if started_by_us(path)]


def started_by_us(cmdline: Path) -> bool:
    try:
        return b"/headway-fleet-demo-" in cmdline.read_bytes()
    except OSError:
        return False  # it ended meanwhile


def asked(url: str, body: bytes | None, **given: str) -> Any:
    ((kind, secret),) = given.items()
    word = base64.b64encode(secret.encode()).decode() if kind == "Basic" else secret
    request = urllib.request.Request(url, body, {"Authorization": f"{kind} {word}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())
