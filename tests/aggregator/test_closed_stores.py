"""A command that is over has closed what it opened: nobody waits for Python to find it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from aggregator.cli import main
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from aggregator.store.stored import DeviceRow

COMMANDS = {
    "devices": 0,
    "devices --filter label=x": 2,
    "device d1": 0,
    "events": 0,
    "refusals": 0,
    "removals": 0,
    "tag d1 --set line=3": 0,
    "groups": 0,
    "remove d9": 2,
    "verify": 7,
    "privacy": 0,
    "audit": 0,
    "alerts": 0,
    "users list": 0,
    "certificates": 0,
    "rollout list": 0,
    "inbox": 0,
}


class Recorded(sqlite3.Connection):
    """Says whether it was closed."""

    open_ones: set[int]

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.open_ones.add(id(self))

    def close(self) -> None:
        super().close()
        self.open_ones.discard(id(self))


def test_commands_close_the_store_however_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("d1", 0.0, 1000.0))
    store.close()
    connect, kept = sqlite3.connect, list[sqlite3.Connection]()
    monkeypatch.setattr(Recorded, "open_ones", set(), raising=False)

    def recorded(*given: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*given, **named, factory=Recorded)
        kept.append(connection)
        return connection

    monkeypatch.setattr(sqlite3, "connect", recorded)
    monkeypatch.setattr(sqlite3.dbapi2, "connect", recorded)
    left = {}
    for command, code in COMMANDS.items():
        assert main([*command.split(), "--state-dir", str(tmp_path)]) == code, (command, capsys.readouterr())
        left[command] = len(Recorded.open_ones)
        Recorded.open_ones.clear()
    assert kept
    assert left == dict.fromkeys(COMMANDS, 0)
