"""Every command with --json prints JSON that a strict reader takes, whatever devices have sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pytest

from aggregator.cli import main
from aggregator.commands import edge_fleet
from aggregator.effects import Instant
from aggregator.policy import Limits
from aggregator.registry.registry import Registry
from aggregator.store import RefusalRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import QUARANTINED, QuarantineRow
from aggregator.store.sql import SqlStore
from headway.maths import Task, ValueSums
from headway.wire import Event, Health, Metrics, Reported, Status

HOSTILE = "pump\x1b[2J\u202e\u2028\nNaN \ud7ff"
NAME = "pump-1"


def commands(group: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    if any(parameter.name == "as_json" for parameter in group.params):
        yield path, group
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, *path, name)


WITH_JSON = dict(commands(edge_fleet))


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet of regressions that never vary, with texts that a terminal would act on."""
    folder = tmp_path_factory.mktemp("state")
    store, now = SqlStore(sqlite_url(folder)), Instant(1.0, 1.8e9)
    # of one value alone R2 is not known
    constant = ValueSums.of(np.zeros((3, 1), np.float32), np.ones((3, 1), np.float32))
    with store.transaction():
        registry = Registry(store, Limits(), lambda space: (1, Task.REGRESSION))
        registry.on_status(NAME, Status(True, 1).encode(), now)
        told = Reported(HOSTILE, HOSTILE, "5" * 64, "exact", HOSTILE, "0", "m", 3, "frozen", HOSTILE, 1)
        registry.on_reported(NAME, told.encode(), now)
        registry.on_metrics(NAME, Metrics(1, 1, constant, constant).encode(), now)
        registry.on_health(NAME, Health(learning="on", attributes={"room": "käller"}).encode(), now)
        registry.on_event(NAME, Event("drift", {"detail": HOSTILE}, 1.8e9).encode(), now)
        registry.flush(now)
        store.count_refusal(RefusalRow("", "address", 2, HOSTILE, 1.8e9))
        store.rows(QUARANTINED).put(QuarantineRow(NAME, 1, HOSTILE, 1.8e9))
    store.close()
    return folder


def strict(text: str) -> object:
    def refuse(name: str) -> object:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_there_are_many() -> None:
    assert len(WITH_JSON) >= 10


@pytest.mark.parametrize("path", WITH_JSON, ids=" ".join)
def test_it_is_json_or_one_line_that_says_why_not(
    path: tuple[str, ...], state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = [NAME for parameter in WITH_JSON[path].params if isinstance(parameter, click.Argument)]
    code = main([*path, *needed, "--json", "--state-dir", str(state_dir)])
    captured = capsys.readouterr()
    if code:
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert path not in {("devices",), ("device",), ("events",), ("refusals",), ("bundles",), ("watch",)}
    else:
        strict(captured.out)
        assert captured.out.isascii(), "what a terminal acts on is written out"


@pytest.mark.parametrize("what", ["devices", "days", "events", "refusals", "audit"])
def test_an_export_is_json_on_every_line(
    what: str, state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert main(["note", NAME, "looked at", "--state-dir", str(state_dir)]) == 0
    capsys.readouterr()
    assert main(["export", what, "--state-dir", str(state_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(isinstance(strict(line), dict) for line in lines)
