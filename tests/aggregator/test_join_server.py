"""The address at which devices join: nobody who is slow, long or insistent takes it from the others."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from aggregator.commands import join_server
from aggregator.commands.join_server import BriefConnection
from aggregator.enrolment import endpoint
from aggregator.enrolment.authority import Authority
from aggregator.enrolment.endpoint import REFUSALS_A_MINUTE, join_application
from aggregator.enrolment.enrolment import Broker, Enrolment
from aggregator.store.memory import MemoryStore
from headway.joining import JOIN_PATH, MESSAGE_BYTES_MAX, JoinRequest
from tests.aggregator.test_enrolment import new_request


class SetClock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return 1.8e9 + self.now_s


class Place:
    """A join server without TLS, on loopback."""

    def __init__(self, folder: Path) -> None:
        self.clock = SetClock()
        authority = Authority.open(folder, "plant", self.clock.wall_s())
        self.enrolment = Enrolment(MemoryStore(), authority, Broker("plant", "broker", 8883), 365)
        application = join_application(self.enrolment, authority.pem, self.clock)
        self.server = uvicorn.Server(
            uvicorn.Config(application, host="127.0.0.1", port=0, http=BriefConnection, log_level="error")
        )
        self.thread = threading.Thread(target=self.server.run)

    def start(self) -> None:
        self.thread.start()
        deadline_s = time.monotonic() + 30
        while not self.server.started:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def join(self, code: str, name: str = "") -> tuple[int, bytes]:
        return self.post(JoinRequest(code, name, new_request()).encode())

    def post(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", JOIN_PATH, body)
        reply = connection.getresponse()
        said = reply.status, reply.read()
        connection.close()
        return said


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.start()
    yield made
    made.server.should_exit = True
    made.thread.join(30)


def test_who_guesses_is_not_answered_for_a_minute(place: Place) -> None:
    good = place.enrolment.new_code("pump-1", [], 1, place.clock.wall_s(), 3600.0)
    for _ in range(REFUSALS_A_MINUTE + 1):
        assert place.join("a" * 26)[0] == 403
    status, said = place.join(good.secret)
    assert status == 429
    assert b"try again in a minute" in said
    place.clock.now_s += 61
    assert place.join(good.secret)[0] == 200


def test_a_whole_site_joins_from_one_address(place: Place) -> None:
    code = place.enrolment.new_code("", [], 300, place.clock.wall_s(), 3600.0)
    assert {place.join(code.secret, f"pump-{number}")[0] for number in range(100)} == {200}


def test_a_long_request_is_refused(place: Place) -> None:
    assert place.post(b"x" * (MESSAGE_BYTES_MAX + 1))[0] == 413


def test_a_body_that_does_not_come_is_not_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "BODY_TIMEOUT_S", 0.1)
    with socket.create_connection(("127.0.0.1", place.port), 30) as slow:
        slow.sendall(f"POST {JOIN_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".encode())
        assert slow.recv(4096).startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_says_nothing_ends(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_server, "CONNECTION_S", 0.1)
    with socket.create_connection(("127.0.0.1", place.port), 30) as silent:
        silent.sendall(b"POST /v1/jo")
        try:
            said = silent.recv(4096)
        except ConnectionResetError:
            said = b""
        assert said == b""
