"""Every command with --json prints JSON that a strict reader takes, whatever devices have sent."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
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


def commands(
    group: click.Command, wanted: Callable[[click.Command], bool], *path: str
) -> dict[tuple[str, ...], click.Command]:
    context = click.Context(group)
    found = {path: group} if wanted(group) else {}
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found |= commands(command, wanted, *path, name)
    return found


WITH_JSON = commands(edge_fleet, lambda command: any(parameter.name == "as_json" for parameter in command.params))


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


# services, and what prints a script or JSON lines anyway
WITHOUT = {("api",), ("completion",), ("export",), ("join-server",), ("serve",), ("simulate",), ("worker",)}


def test_every_command_has_it_but_those_that_serve_or_print_something_else() -> None:
    assert set(commands(edge_fleet, lambda command: not isinstance(command, click.Group))) - set(WITH_JSON) == WITHOUT


@pytest.mark.parametrize("path", WITH_JSON, ids=" ".join)
def test_it_is_json_or_one_line_that_says_why_not(
    path: tuple[str, ...],
    state_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    # nobody answers: no service runs
    monkeypatch.setattr("aggregator.commands.devices.REMOVAL_TIMEOUT_S", 0.0)
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


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("tag", NAME, "--set", "site=north"), {"devices": 1}),
        (("groups", "list", "canary", "--add", NAME), {"group": "canary", "kind": "list", "devices": 1, "filter": ""}),
        (("note", NAME, "im Käller"), {"device": NAME, "note": "im Käller"}),
        (("users", "add", "ada", "--role", "admin"), {"user": "ada", "role": "admin"}),
        (("configure", "--everybody", "sync.interval_s=9"),
         {"scope": "fleet", "name": "", "settings": {"sync.interval_s": 9}}),
        (("quarantine", NAME), {"quarantined": NAME}),
        (("remove", NAME), {"device": NAME, "removed": False}),
        (("forget", NAME), {"device": NAME, "forgotten": False}),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)  # fmt: skip
def test_an_act_says_in_json_what_it_did(
    words: tuple[str, ...],
    facts: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aggregator.commands.devices.REMOVAL_TIMEOUT_S", 0.0)
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        registry = Registry(store, Limits(), 3)
        registry.on_status(NAME, Status(True, 1).encode(), Instant(1.0, 1.8e9))
        registry.flush(Instant(1.0, 1.8e9))
    store.close()
    assert main([*words, "--state-dir", str(tmp_path), "--json"]) == 0
    assert strict(capsys.readouterr().out) == facts


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
