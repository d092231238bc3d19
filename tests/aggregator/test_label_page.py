"""docs/howto/label.md is true: its commands run one after the other, and its settings are those there are."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.remote_commands import commands_of
from aggregator.store import DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import (
    LABELS_WANTED,
    SUPPORTED_COMMANDS,
    WANTED_LISTS,
    LabelsWantedRow,
    SupportedCommandsRow,
    WantedListRow,
)
from aggregator.store.sql import SqlStore
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from headway.wire import LabelsWanted, WantedLabel

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "label.md").read_text()
NAMES = ("label", "undo-label", "skip-window")


def test_the_pages_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aggregator.commands.place.STATE_DIR", str(tmp_path))
    store = SqlStore(sqlite_url(tmp_path))
    windows = tuple(WantedLabel(f"w{number}", 1.0, "exact", {"walk": 0.6}) for number in (1, 2, 3))
    with store.transaction():
        store.put_device(DeviceRow("pump-7", 0.0, 1.0))
        store.registry.put([RegistryRow("pump-7", 0.0, 1.0)])
        store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow("pump-7", json.dumps(NAMES)))
        store.rows(WANTED_LISTS).put(WantedListRow("pump-7", LabelsWanted(("walk",), windows).encode(), 1.0))
        store.rows(LABELS_WANTED).put(LabelsWantedRow("pump-7", 3, 0.6, 1.0))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("window,class\nw4,run\n")
    commands = re.findall(r"^\$ edge-fleet (.*)$", PAGE, re.MULTILINE)
    assert len(commands) >= 7
    for command in commands:
        assert main(shlex.split(command)) == 0, (command, capsys.readouterr().err)
    with store.transaction():
        asked = [(row.name, json.loads(row.arguments)["window"]) for row in commands_of(store, "pump-7")]
    assert asked == [
        ("label", "w1"), ("undo-label", "w1"), ("skip-window", "w2"), ("skip-window", "w3"), ("label", "w1"),
        ("label", "w2"), ("label", "w4"),
    ]  # fmt: skip
    store.close()


def test_the_pages_settings_are_settings() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = LabelsWantedSettings(**tomllib.loads(block)["labels_wanted"])
    assert settings.windows_max == LabelsWantedSettings().windows_max
    assert settings.sketch_bytes == LabelsWantedSettings().sketch_bytes
    assert f"`interval_s` ({LabelsWantedSettings().interval_s:,.0f} s)" in PAGE
