"""The firewall of docs/howto/internet.md: one port, and not too often."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.network.namespaces import SERVER, Cable, why_not
from tests.project.files import ROOT

REASON = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(REASON), reason=REASON or "namespaces work"),
]
PAGE = (ROOT / "docs" / "howto" / "internet.md").read_text()
OPEN, CLOSED = 8883, 1883
LISTENING = """
import socket
servers = [socket.create_server(("", port), backlog=128) for port in (8883, 1883)]
print("listening", flush=True)
import time
time.sleep(60)
"""
KNOCKING = """
import socket, sys
reached = 0
for _ in range(int(sys.argv[2])):
    try:
        socket.create_connection(("{server}", int(sys.argv[1])), timeout=0.3).close()
        reached += 1
    except OSError:
        pass
print(reached)
"""


@pytest.fixture
def cable() -> Iterator[Cable]:
    (rules,) = re.findall(r"```nft\n(.*?)```", PAGE, re.DOTALL)
    with Cable() as made:
        command = made.command(made.server, "nft", "-f", "-")
        subprocess.run(command, input=rules, text=True, check=True, capture_output=True)
        with subprocess.Popen(
            made.command(made.server, sys.executable, "-c", LISTENING), stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            assert server.stdout.readline().strip() == "listening"
            try:
                yield made
            finally:
                with contextlib.suppress(ProcessLookupError):
                    server.kill()


def knock(cable: Cable, port: int, times: int) -> int:
    """How many connections of so many come about."""
    command = [sys.executable, "-c", KNOCKING.format(server=SERVER), str(port), str(times)]
    done = subprocess.run(cable.command(cable.device, *command), capture_output=True, text=True, check=True, timeout=60)
    return int(done.stdout)


def test_only_the_brokers_port_is_open(cable: Cable) -> None:
    assert knock(cable, OPEN, 3) == 3
    assert knock(cable, CLOSED, 2) == 0


def test_who_knocks_too_often_is_let_wait(cable: Cable) -> None:
    began_s = time.monotonic()
    reached = knock(cable, OPEN, 40)
    allowed = 20 + (time.monotonic() - began_s) / 2 + 2
    assert 20 <= reached <= allowed
