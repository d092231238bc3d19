"""docs/howto/find-devices.md is true: its commands run as they stand, and its table holds every field of a filter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.filters import Quantity, parse_filter
from aggregator.registry import VOCABULARY
from aggregator.store import RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from aggregator.store.stored import DeviceRow

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "find-devices.md").read_text()
QUANTITIES = {quantity: str(quantity).split(",", maxsplit=1)[0] for quantity in Quantity}


def test_the_pages_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aggregator.commands.place.STATE_DIR", str(tmp_path))
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        for name in ("pump-1", "pump-7", "pump-8"):
            store.put_device(DeviceRow(name, 0.0, 1.0))
            store.registry.put([RegistryRow(name, 0.0, 1.0, accuracy_gain=-0.1, labels=60, scored=60)])
    store.close()
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) >= 10
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "edge-fleet"
        assert main(words) == 0, (command, capsys.readouterr().err)


def test_the_pages_filters_are_filters() -> None:
    examples = re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE)
    assert len(examples) >= 5
    for example in examples:
        parse_filter(example, VOCABULARY)


def test_the_pages_table_holds_every_field() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| .* \|$", PAGE, re.MULTILINE))
    assert rows == {field.name: QUANTITIES[field.quantity] for field in VOCABULARY.fields.values()}
