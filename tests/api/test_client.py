"""The typed client over a real connection, and the files that are written from the API as it is declared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from aggregator.access import Role
from headway_client import ApiError, ApiUnreachable, Client
from scripts.api import written
from testbed.broker import free_port
from tests.api.fleet import Fleet
from tests.api.serving import served


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


@pytest.fixture
def url(fleet: Fleet) -> Iterator[str]:
    with served(fleet.app()) as url:
        yield url


def test_the_client_asks_and_acts(fleet: Fleet, url: str) -> None:
    client = Client(url, fleet.tokens[Role.OPERATOR])
    page = client.list_devices(limit=2)
    assert [device["device"] for device in page["devices"]] == ["pump-1", "pump-2"]
    assert client.list_devices(after=page["next"])["devices"][0]["device"] == "pump-3"
    for _ in range(2):
        assert client.tag_devices({"devices": ["pump-1"], "set": {"site": "north"}}, key="k") == {"devices": ["pump-1"]}
    assert client.put_group("northern", {"filter": 'tag.site == "north"'})["devices"] == 1
    assert client.delete_group("northern") is None
    with pytest.raises(ApiError, match=r"there is no group 'northern'.* \(HTTP 404\)") as refused:
        client.show_group("northern")
    assert refused.value.status == 404
    with pytest.raises(ApiError, match="needs the role admin"):
        client.list_users()
    acts = [entry["act"] for entry in client.list_audit(limit=1000)["entries"]]
    assert acts.count("tag") == 1


def test_no_answer_is_told_apart_from_a_refusal(fleet: Fleet) -> None:
    with pytest.raises(ApiUnreachable, match="does not answer"):
        Client(f"http://127.0.0.1:{free_port()}", "t").check_health()


@pytest.mark.parametrize("url", ["http://fleet.example:8885", "ftp://localhost", "localhost:8885", "https://"])
def test_the_token_never_goes_in_the_clear_or_nowhere(url: str) -> None:
    with pytest.raises(ValueError, match="in the clear|no address"):
        Client(url, "t")


@pytest.mark.parametrize("sent", [b"HT", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_an_answer_that_breaks_off_is_none(sent: bytes) -> None:
    class Killed(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Killed) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ApiUnreachable):
            Client(f"http://127.0.0.1:{server.server_port}", "t").check_health()
        thread.join(20)


def test_the_token_is_sent_to_nobody_else() -> None:
    asked = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/other")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(ApiError, match="302"):
            Client(f"http://127.0.0.1:{server.server_port}", "t").check_health()
        thread.join(20)
    assert asked == ["/v1/health"]


def test_what_is_written_from_the_api_is_up_to_date() -> None:
    stale = [file.name for file, text in written().items() if file.read_text() != text]
    assert stale == [], "python -m scripts.api"
