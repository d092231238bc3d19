"""docs/howto/alerts.md is true: its commands run as they stand, its table holds the built-in rules."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from aggregator.alerts import BUILT_IN, Alerts, EmailSettings, WebhookSettings
from aggregator.alerts.alerts import as_json
from aggregator.clearings import Clearings
from aggregator.cli import main
from aggregator.effects import Instant
from aggregator.policy import AlertPolicy
from aggregator.store import RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import ALERTS, AlertRow
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError
from headway.fields import Fields
from headway.settings import settings_from
from headway.wire import alert_topic

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "alerts.md").read_text()


def test_the_pages_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aggregator.commands.place.STATE_DIR", str(tmp_path))
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        for number in range(17):
            store.registry.put([RegistryRow(f"pump-{number}", 0.0, 1.0)])
        Alerts("plant", store, AlertPolicy(), Clearings("plant", store)).tick(Instant(0.0, 1.8e9))
        assert store.rows(ALERTS).count() == 17
    store.close()
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 12
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "edge-fleet"
        assert main(words) == 0, (command, capsys.readouterr().err)


def test_the_table_holds_the_built_in_rules() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (info|warning|critical) \|", PAGE, re.MULTILINE))
    assert rows == {rule.name: rule.severity for rule in BUILT_IN.values()}


def test_the_settings_and_the_message_on_the_page_are_those_that_are_read_and_sent() -> None:
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        for name, table in tomllib.loads(block).items():
            kind = {"webhook": WebhookSettings, "email": EmailSettings}[name]
            settings_from(kind, Fields(table, name, ConfigError))
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown = json.loads(text)
    (event,) = shown["events"]
    row = AlertRow(17, "disk", "pump-7", "critical", "open", "disk_free 40 MB", 1795999940.0, 1796000000.0, 0.0, 0.0,
                   True, "", "", 0.0)  # fmt: skip
    assert event["alert"] == as_json(row, "plant")
    assert alert_topic("{fleet}", "{rule}", "{subject}") in PAGE
