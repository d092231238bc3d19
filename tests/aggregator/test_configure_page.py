"""docs/howto/configure-devices.md is true: its commands run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.registry import put_list_group
from aggregator.store import DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import SETTINGS_STATES, SettingsStateRow
from aggregator.store.sql import SqlStore
from headway.wire import ConfigurationState

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "configure-devices.md").read_text()


def test_the_pages_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aggregator.commands.place.STATE_DIR", str(tmp_path))
    store = SqlStore(sqlite_url(tmp_path))
    values = {"sync.interval_s": 60, "learner.gate_margin": 1, "policy.trigger": "always"}
    with store.transaction():
        store.put_device(DeviceRow("pump-7", 0.0, 1.0))
        store.registry.put([RegistryRow("pump-7", 0.0, 1.0)])
        put_list_group(store, "canaries", ["pump-7"], [], 0.0)
        state = ConfigurationState(0, "applied", values).encode()
        store.rows(SETTINGS_STATES).put(SettingsStateRow("pump-7", state, 1.0))
    store.close()
    commands = re.findall(r"^\$ edge-fleet (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 6
    for command in commands:
        assert main(shlex.split(command)) == 0, (command, capsys.readouterr().err)
    shown = capsys.readouterr().out
    assert re.search(r"learner.gate_margin +2 +group canaries +1", shown)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["sync.interval_s=1"], "one of --device NAME, --group NAME and --everybody"),
        (["--everybody", "sync.interval_s"], "table.key=value"),
        (["--everybody"], "give a setting"),
        (["--everybody", "--unset", "sync.interval_s"], "not set there"),
        (["--everybody", "sync.interval_s=1", "--priority", "2"], "only groups"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    SqlStore(sqlite_url(tmp_path)).close()
    assert main(["configure", "--state-dir", str(tmp_path), *words]) == 2
    assert reason in capsys.readouterr().err
