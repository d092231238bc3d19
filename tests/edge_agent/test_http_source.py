"""Rows over HTTP on loopback: taken with the token, never for a page in a browser, refused while too many wait."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from numpy.testing import assert_array_equal

from edge_agent.source_settings import SourceSettings
from edge_agent.sources import http as http_source
from edge_agent.sources.http import HttpRows
from edge_agent.sources.ports import Rows
from headway.errors import ConfigError, DataError
from headway.ports import SystemClock
from headway.stream import Channel, StreamFormat
from testbed.broker import free_port

STREAM = StreamFormat((Channel("x"), Channel("y")), rate_hz=10.0, length=2, hop=2)
TOKEN = "0123456789abcdef" * 2


class Service:
    """A source that listens, its rows in a list."""

    def __init__(self, folder: Path) -> None:
        file = folder / "token"
        file.write_text(TOKEN + "\n")
        self.port = free_port()
        settings = SourceSettings(kind="http", port=self.port, token_file=file, format="json")
        self.source = HttpRows(settings, STREAM, SystemClock())
        self.rows: list[Rows] = []
        self._may_read = threading.Event()
        self._may_read.set()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        while self.post("")[0] == 0:
            assert self._thread.is_alive(), "somebody else has taken the port"
            threading.Event().wait(0.01)

    def post(self, body: str, **headers: str) -> tuple[int, dict[str, object]]:
        """Status and answer; 0 while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {"Authorization": f"Bearer {TOKEN}"} | {name.replace("_", "-"): text for name, text in headers.items()}
        path = named.pop("path", "/rows")
        try:
            connection.request("POST", path, body, named)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except ConnectionRefusedError:
            return 0, {}
        finally:
            connection.close()

    def close(self) -> None:
        self.source.close()
        self._thread.join()

    def _read(self) -> None:
        self.rows += self.source.rows()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path)
    yield running
    running.close()


def test_rows_are_taken_with_the_token(service: Service) -> None:
    assert service.post('[{"x": 1, "y": 2}, {"x": 3}]') == (202, {"accepted": 2})
    assert service.post('{"x": 5, "y": 6}') == (202, {"accepted": 1})
    while len(service.rows) < 2:
        threading.Event().wait(0.01)
    assert_array_equal(service.rows[0].values[0], [1, 2])
    assert_array_equal(service.rows[1].values, [[5, 6]])
    status, answer = service.post("walk")
    assert status == 400
    assert "holds no row of 2 numbers as json" in str(answer["problem"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Host": "evil.example:80"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"path": "/"}, 404),
        ({"Content_Length": "99999999"}, 413),
        ({"Content_Length": "-1"}, 413),
        ({"Content_Length": "9" * 5000}, 413),
        ({"Content_Length": "\xb2"}, 413),
    ],
)
def test_others_are_refused(service: Service, headers: dict[str, str], status: int) -> None:
    assert service.post('{"x": 1, "y": 2}', **headers)[0] == status
    assert service.rows == []


def test_a_request_that_comes_byte_by_byte_is_ended(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "REQUEST_S", 0.3)
    began_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port), 10.0) as slow, contextlib.suppress(ConnectionError):
        while time.monotonic() - began_s < 8.0:
            slow.sendall(b"P")
            slow.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                if slow.recv(1) == b"":
                    break
    assert time.monotonic() - began_s < 5.0


def test_senders_wait_while_too_many_rows_do(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "WAITING_NUMBERS_MAX", -1)
    assert service.post('{"x": 1, "y": 2}') == (503, {"problem": "too many rows wait; send them again in a second"})


def test_a_port_that_is_taken_is_said(service: Service, tmp_path: Path) -> None:
    settings = SourceSettings(kind="http", port=service.port, token_file=tmp_path / "token")
    with pytest.raises(DataError, match=f"cannot listen on 127.0.0.1:{service.port}: .*; give another source.port"):
        next(HttpRows(settings, STREAM, SystemClock()).rows())


def test_without_a_port_or_a_token_nothing_begins(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret")
    for settings, problem in (
        (SourceSettings(kind="http"), "source.port is 0"),
        (SourceSettings(kind="http", port=8089), "token_file is not set"),
        (SourceSettings(kind="http", port=8089, token_file=tmp_path / "none"), "No such file"),
        (SourceSettings(kind="http", port=8089, token_file=tmp_path / "short"), "has 6 characters; give at least 16"),
    ):
        with pytest.raises(ConfigError, match=problem):
            HttpRows(settings, STREAM, SystemClock())
