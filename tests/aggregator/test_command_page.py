"""docs/howto/command-devices.md is true: its commands run as they stand, and its table names every command."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.remote_commands import ARGUMENTS
from aggregator.store import DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import SUPPORTED_COMMANDS, SupportedCommandsRow
from aggregator.store.sql import SqlStore
from edge_agent.remote_commands import Actions

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "howto" / "command-devices.md").read_text()
PROTOCOL = (DOCS / "protocol.md").read_text().split("### 5.12 Commands")[1].split("\n## ")[0]


def test_the_pages_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aggregator.commands.place.STATE_DIR", str(tmp_path))
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-7", 0.0, 1.0))
        store.registry.put([RegistryRow("pump-7", 0.0, 1.0)])
        store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow("pump-7", json.dumps(list(ARGUMENTS))))
    store.close()
    commands = re.findall(r"^\$ edge-fleet (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 8
    for command in commands:
        assert main(shlex.split(command)) == 0, (command, capsys.readouterr().err)
    shown = capsys.readouterr().out
    assert re.search(r"1 +sync-now +asked", shown)


def test_both_pages_and_both_programs_name_the_same_commands() -> None:
    named = [re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) for text in (PAGE, PROTOCOL)]
    known = [*ARGUMENTS]
    assert named == [known, known]
    device = Actions(None, None, None, lambda: None, dict, object())  # type: ignore[arg-type]
    assert [*device.names] == known
    without_deliveries = Actions(None, None, None, lambda: None, dict)  # type: ignore[arg-type]
    assert [*without_deliveries.names] == [name for name in known if name != "roll-back"]
