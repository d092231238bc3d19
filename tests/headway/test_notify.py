"""sd_notify against a real datagram socket: what arrives, and that nothing does without systemd."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.errors import ConfigError
from headway.sd_notify import SystemdNotifier


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A bound notification socket and the NOTIFY_SOCKET value that reaches it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@headway-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(address.replace("@", "\0"))
        bound.settimeout(5)
        yield bound, address


def test_every_message_arrives_as_one_datagram(listener: tuple[socket.socket, str]) -> None:
    bound, address = listener
    notifier = SystemdNotifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"})
    notifier.ready("serving\n2 devices")
    notifier.progress()
    notifier.status("3 devices")
    notifier.stopping()
    received = [bound.recv(1024).decode() for _ in range(4)]
    assert received == ["READY=1\nSTATUS=serving 2 devices", "WATCHDOG=1", "STATUS=3 devices", "STOPPING=1\nSTATUS="]
    assert notifier.feed_interval_s == pytest.approx(1.0)


def test_work_does_not_wait_where_nobody_reads(listener: tuple[socket.socket, str]) -> None:
    bound, address = listener
    notifier = SystemdNotifier(address, watchdog_s=3.0)
    for number in range(5000):
        notifier.status(f"state {number}")
        notifier.progress()
    assert bound.recv(1024) == b"STATUS=state 0", "what fitted is there"


def test_without_systemd_nothing_is_sent_and_nothing_fails() -> None:
    notifier = SystemdNotifier.from_environment({})
    notifier.ready()
    notifier.progress()
    assert notifier.feed_interval_s == float("inf")


def test_no_watchdog_message_when_the_unit_sets_none(listener: tuple[socket.socket, str]) -> None:
    bound, address = listener
    SystemdNotifier(address).progress()
    SystemdNotifier(address).status("still here")
    assert bound.recv(1024) == b"STATUS=still here"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"NOTIFY_SOCKET": "relative"}, "neither a path nor an abstract"),
        ({"NOTIFY_SOCKET": "/nowhere/at/all"}, "No such file"),
        ({"WATCHDOG_USEC": "soon"}, "not a number"),
    ],
)
def test_a_broken_environment_is_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SystemdNotifier.from_environment(environment).ready()


def test_a_watchdog_meant_for_another_process_is_not_ours() -> None:
    assert SystemdNotifier.from_environment({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog_s == 0
