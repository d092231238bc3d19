"""The API as an operator starts it: users and tokens made by the command, then asked over TCP, then stopped."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.store import DeviceRow
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from testbed.broker import free_port

pytestmark = pytest.mark.system


@pytest.fixture
def config(tmp_path: Path) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-1", 1.0, 1.0))
    store.close()
    path = tmp_path / "aggregator.toml"
    path.write_text(
        f'fleet.name = "plant"\nbundle.path = "model.hwb"\nstorage.state_dir = "."\napi.port = {free_port()}\n'
        'mqtt.host = "localhost"\n'
    )
    return path


@pytest.fixture
def fleet(config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def command(*words: str, typed: str = "") -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert main([*words, "--config", str(config)]) == 0
        return capsys.readouterr().out

    return command


@pytest.fixture
def url(config: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "aggregator.cli", "api", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None
    greeting = process.stdout.readline()
    assert greeting.startswith("the API answers at http://127.0.0.1:")
    yield greeting.split()[-1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()


def test_a_token_opens_what_its_user_may_see(fleet: Callable[..., str], url: str) -> None:
    fleet("users", "add", "ada", "--role", "admin", "--password", typed="a horse that staples\n")
    token = fleet("tokens", "create", "ada", "--expires", "1h").strip()
    request = urllib.request.Request(f"{url}/v1/devices", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert [device["device"] for device in json.load(answer)["devices"]] == ["pump-1"]
    (known,) = json.loads(fleet("tokens", "list", "--json"))
    fleet("tokens", "revoke", known["id"])
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=20)
    assert json.loads(fleet("users", "list", "--json"))[0]["has_password"] is True
    fleet("users", "role", "ada", "viewer")
    fleet("users", "password", "ada", typed="another horse entirely\n")
    fleet("users", "remove", "ada")
    acts = [entry["act"] for entry in json.loads(fleet("audit", "--json"))]
    assert acts == ["add-user", "create-token", "revoke-token", "change-user", "change-user", "remove-user"]


@pytest.mark.parametrize(
    ("lines", "exit_code", "said"),
    [
        ('api.listen = "0.0.0.0"\n', 2, "tokens would travel in the clear"),
        ('api.listen = "192.0.2.1"\napi.trusted_proxies = ["10.0.0.1"]\n', 9, "cannot listen on 192.0.2.1"),
    ],
)
def test_an_address_that_will_not_do_is_said(config: Path, lines: str, exit_code: int, said: str) -> None:
    config.write_text(config.read_text() + lines)
    command = [sys.executable, "-m", "aggregator.cli", "api", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == exit_code
    assert said in done.stderr
