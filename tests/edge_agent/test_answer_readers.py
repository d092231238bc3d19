"""Programs on the device read answers and give labels over a Unix socket and HTTP; nobody else does."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.answer_settings import AnswerSettings
from edge_agent.answers import UnixSocket
from edge_agent.answers import http as answers_http
from edge_agent.answers.http import BODY_BYTES_MAX, CONNECTIONS_MAX, HttpAnswers
from edge_agent.config import SensorSettings
from edge_agent.label_doors import LabelFiles
from headway.errors import ConfigError
from headway.ports import SystemClock
from tests.edge_agent.test_answers import given

TOKEN = "0123456789abcdef"


@pytest.fixture
def labels(tmp_path: Path) -> LabelFiles:
    (tmp_path / "spool").mkdir()
    return LabelFiles(SensorSettings(tmp_path / "spool"), SystemClock())


@pytest.fixture
def sink(tmp_path: Path, labels: LabelFiles) -> Iterator[UnixSocket]:
    made = UnixSocket(tmp_path / "answers.sock", 2, 50, labels.take)
    yield made
    made.close()


def connected(path: Path) -> socket.socket:
    reader = socket.socket(socket.AF_UNIX)
    reader.settimeout(10)
    reader.connect(str(path))
    return reader


def lines(reader: socket.socket, count: int) -> list[dict[str, object]]:
    with reader.makefile("rb") as file:
        return [json.loads(file.readline()) for _ in range(count)]


def ready(reader: socket.socket) -> None:
    """It is taken up once it is answered."""
    reader.sendall(b'{"id":""}\n')
    assert "problem" in lines(reader, 1)[0]


def test_several_readers_get_every_answer_and_labels_go_into_the_spool(tmp_path: Path, sink: UnixSocket) -> None:
    readers = [connected(tmp_path / "answers.sock") for _ in range(2)]
    for reader in readers:
        ready(reader)
    sink.take([given(1, row) for row in range(20)], again=False)
    for reader in readers:
        assert [line["row"] for line in lines(reader, 20)] == list(range(20))
    readers[0].sendall(b'{"id":"w-1",')
    readers[0].sendall(b'"label":"walk"}\n{"id":"w-2"}\n')
    accepted, refused = lines(readers[0], 2)
    assert (tmp_path / "spool" / str(accepted["accepted"])).exists()
    assert "lacks 'label'" in str(refused["problem"])
    third = connected(tmp_path / "answers.sock")
    assert third.recv(1) == b""
    for reader in (*readers, third):
        reader.close()


def test_a_reader_that_does_not_read_is_cut_off_and_counted(tmp_path: Path, sink: UnixSocket) -> None:
    slow, quick = connected(tmp_path / "answers.sock"), connected(tmp_path / "answers.sock")
    for reader in (slow, quick):
        ready(reader)
    rows = 0
    with quick.makefile("rb") as file:
        while not sink.dropped:
            sink.take([given(1, rows + row) for row in range(20)], again=False)
            for row in range(20):
                assert json.loads(file.readline())["row"] == rows + row
            rows += 20
    assert "left" in sink.problem
    assert sink.dropped > 50
    slow.close()
    quick.close()


def test_a_socket_left_over_is_replaced_and_other_files_stay(tmp_path: Path, labels: LabelFiles) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "a.sock"))
    left.close()
    made = UnixSocket(tmp_path / "a.sock", 2, 50, labels.take)
    assert (tmp_path / "a.sock").stat().st_mode & 0o777 == 0o660
    made.close()
    assert not (tmp_path / "a.sock").exists()
    (tmp_path / "b.sock").write_text("mine")
    with pytest.raises(ConfigError, match="see socket of"):
        UnixSocket(tmp_path / "b.sock", 2, 50, labels.take)
    assert (tmp_path / "b.sock").read_text() == "mine"


@pytest.fixture
def served(labels: LabelFiles) -> Iterator[HttpAnswers]:
    made = HttpAnswers(0, TOKEN, 30, labels.take)
    yield made
    made.close()


def ask(
    served: HttpAnswers, method: str, path: str, body: bytes | None = None, **headers: str | None
) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    given_headers = {"Authorization": f"Bearer {TOKEN}"}
    if body is not None:
        given_headers["Content-Type"] = "application/json"
    for name, value in headers.items():
        given_headers[name.replace("_", "-")] = value or ""
    connection.request(method, path, body, given_headers)
    response = connection.getresponse()
    found: dict[str, object] = json.loads(response.read())
    connection.close()
    return response.status, found


def test_the_newest_answers_and_those_after_one(served: HttpAnswers) -> None:
    served.take([given(4, row) for row in range(40)], again=False)
    status, found = ask(served, "GET", "/answers")
    assert status == 200
    assert [row["row"] for row in found["answers"]] == list(range(10, 40))  # type: ignore[index,union-attr,attr-defined]
    status, found = ask(served, "GET", "/answers?after=4.37")
    assert [row["row"] for row in found["answers"]] == [38, 39]  # type: ignore[index,union-attr,attr-defined]
    assert ask(served, "GET", "/answers?after=x")[0] == 400


def test_a_label_is_in_the_spool_when_it_is_accepted(served: HttpAnswers, tmp_path: Path) -> None:
    status, found = ask(served, "POST", "/labels", b'{"id":"w-1","label":"walk"}')
    assert status == 202
    assert (tmp_path / "spool" / str(found["accepted"])).exists()
    status, found = ask(served, "POST", "/labels", b'{"id":"w-1","lable":"walk"}')
    assert status == 400
    assert "did you mean 'label'" in str(found["problem"]) or "lacks 'label'" in str(found["problem"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer 0123456789abcdeX"}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:80"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Length": str(BODY_BYTES_MAX + 1)}, 413),
        ({"Content_Length": "9" * 5000}, 413),
        ({"Content_Length": "\xb2"}, 413),
        ({"Host": "localhost", "Origin": "http://localhost:8080"}, 202),
    ],
)
def test_a_page_in_a_browser_can_teach_nothing(
    served: HttpAnswers, tmp_path: Path, headers: dict[str, str | None], status: int
) -> None:
    assert ask(served, "POST", "/labels", b'{"id":"w-1","label":"walk"}', **headers)[0] == status
    assert len(list((tmp_path / "spool").iterdir())) == (status == 202)


def test_connections_are_bounded(served: HttpAnswers) -> None:
    opened = [socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in range(CONNECTIONS_MAX + 1)]
    assert opened[-1].recv(1) == b""
    opened[0].sendall(b"GET /answers HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert opened[0].recv(12) == b"HTTP/1.1 401"
    for each in opened:
        each.close()


def test_a_connection_that_speaks_a_byte_at_a_time_is_ended_and_makes_room(labels: LabelFiles) -> None:
    served = HttpAnswers(0, TOKEN, 30, labels.take, connection_s=0.2)
    try:
        slow = [socket.create_connection(("127.0.0.1", served.port), timeout=10) for _ in range(CONNECTIONS_MAX)]
        ended: set[int] = set()
        while len(ended) < len(slow):  # each within its timeout of 10 s, though it never falls silent
            for number, each in enumerate(slow):
                try:
                    each.sendall(b"G")
                    each.settimeout(0.01)
                    if number not in ended and each.recv(1) == b"":
                        ended.add(number)
                except TimeoutError:
                    continue
                except OSError:
                    ended.add(number)
        assert ask(served, "GET", "/answers")[0] == 200
        for each in slow:
            each.close()
    finally:
        served.close()


def test_a_long_reply_comes_in_parts(labels: LabelFiles, monkeypatch: pytest.MonkeyPatch, served: HttpAnswers) -> None:
    monkeypatch.setattr(answers_http, "REPLY_BYTES_MAX", 2 * len(given(4, 10).payload) + 3)
    served.take([given(4, row) for row in range(10, 15)], again=False)
    rows, after, more = list[int](), "0.0", True
    while more:
        found = ask(served, "GET", f"/answers?after={after}")[1]
        part = [int(row["row"]) for row in found["answers"]]  # type: ignore[index,union-attr,attr-defined]
        assert len(part) <= 2
        rows, after, more = rows + part, f"4.{part[-1]}", bool(found["more"])
    assert rows == list(range(10, 15))


def test_a_connection_that_ended_makes_room(served: HttpAnswers) -> None:
    for _ in range(2 * CONNECTIONS_MAX):
        assert ask(served, "GET", "/answers")[0] == 200


def test_a_short_token_and_none_are_refused(tmp_path: Path, labels: LabelFiles) -> None:
    with pytest.raises(ConfigError, match="openssl rand"):
        HttpAnswers(0, "short", 30, labels.take)
    with pytest.raises(ConfigError, match="needs http_token_file"):
        AnswerSettings(http_port=8000)
    with pytest.raises(ConfigError, match="cannot read http_token_file"):
        AnswerSettings(http_port=8000, http_token_file=tmp_path / "none").http_token()
