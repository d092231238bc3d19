"""docs/howto/forget.md is true: its commands run, one after the other, beside a core that does what they ask for."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.commands import removals as commands
from aggregator.commands.device_list import aside_of
from aggregator.core import Aggregator
from aggregator.effects import Instant
from aggregator.policy import Limits, Policy
from aggregator.removals import RemovalRecord, records_in
from aggregator.store.location import sqlite_url
from aggregator.store.rows import BY_HAND, FORGET_REQUESTS, SUPPORTED_COMMANDS, SUSPICIOUS, SupportedCommandsRow
from aggregator.store.sql import SqlStore
from headway.private_keys import generate_key, read_signer
from tests.aggregator.fleets import FLEET, model, statistics_message, tables

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "forget.md").read_text()
SINCE_S = 1_795_161_600.0  # 2026-11-20T08:00Z


def test_the_pages_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aggregator.commands.place.STATE_DIR", str(tmp_path))
    monkeypatch.setattr(commands, "REMOVAL_TIMEOUT_S", 0.0)
    monkeypatch.setattr("aggregator.commands.devices.REMOVAL_TIMEOUT_S", 0.0)
    generate_key(Path("heads.pem"))
    store = SqlStore(sqlite_url(tmp_path))

    def at(wall_s: float, *reports: tuple[str, int, int]) -> None:
        """The service runs for a moment."""
        now = Instant(wall_s, wall_s)
        with store.transaction():
            signer = read_signer(Path("heads.pem"), "keygen")
            core = Aggregator(FLEET, model(), Policy(publish_interval_s=0.0), store, signer=signer)
            core.receive([statistics_message(name, 1, count, tables(count, 7)) for name, count, _ in reports], now)
            core.tick(replace(now, monotonic_s=now.monotonic_s + 10.0))

    at(SINCE_S - 86_400.0, ("wrist-1", 20, 0), ("wrist-2", 30, 0), ("wrist-3", 40, 0))
    at(SINCE_S - 3600.0, ("wrist-2", 50, 0))
    at(SINCE_S + 3600.0, ("wrist-2", 90, 0))
    with store.transaction():
        store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow("wrist-2", json.dumps(["forget-class"])))
    asked = re.findall(r"^\$ edge-fleet (.*)$", PAGE, re.MULTILINE)
    assert len(asked) == 6
    for command in asked:
        assert main(shlex.split(command)) == 0, (command, capsys.readouterr().err)
        at(SINCE_S + 7200.0)
    said = capsys.readouterr().out
    assert "asked wrist-2 to forget walk" in said
    assert "2 records are whole and follow each other; signed by a key in heads.pem.pub" in said
    whole, since = (RemovalRecord.decode(row.record, "record") for row in records_in(Path("records")))
    assert (whole.device, [epoch.kept_samples for epoch in whole.epochs]) == ("wrist-1", [0])
    assert (since.device, since.since_s, [epoch.kept_samples for epoch in since.epochs]) == ("wrist-2", SINCE_S, [30])
    store.close()


def test_the_pages_limits_are_the_limits() -> None:
    assert f"for the last {Limits().marks_per_epoch} days with reports" in PAGE.replace("\n", " ")
    assert f"the {Limits().heads_kept_max} that the server keeps" in PAGE.replace("\n", " ")


def test_the_page_for_data_protection_is_one_page_and_its_limits_are_the_limits() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "data-protection.md").read_text()
    assert len(page.split()) <= 650
    text = page.replace("\n", " ")
    assert f"up to {Limits().marks_per_epoch} earlier days of them" in text
    assert f"{Limits().heads_kept_max} heads" in text
    assert Policy().prior_devices_min == 3
    assert "the sum of at least three devices" in text


@pytest.mark.parametrize("given", [("--since", ""), ("--class", ""), ("--since", "", "--class", "walk")])
def test_a_variable_of_a_script_that_is_not_set_forgets_nothing(
    given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aggregator.commands.devices.REMOVAL_TIMEOUT_S", 0.0)
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        Aggregator(FLEET, model(), Policy(), store).receive(
            [statistics_message("w", 1, 1, tables(9, 7))], Instant(1, 1)
        )
    assert main(["forget", "w", *given, "--state-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip()
    assert error.endswith("is empty; give it a value or leave it out; see edge-fleet forget --help")
    with store.transaction():
        assert (store.removal_requests(), store.rows(FORGET_REQUESTS).all()) == ([], [])


@pytest.mark.parametrize(("since", "said"), [("2126-11-20T08:00", "2126-11-20 08:00:00"), ("1969-01-01", "1969-01-01")])
def test_a_time_that_has_not_come_is_told_as_people_write_it(
    since: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        Aggregator(FLEET, model(), Policy(), store).receive(
            [statistics_message("w", 1, 1, tables(9, 7))], Instant(1, 1)
        )
    assert main(["forget", "w", "--since", since, "--state-dir", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "is not a time that has passed since 1970" in error


@pytest.mark.parametrize(
    ("why", "ends"),
    [
        (f"{BY_HAND}: loose sensor", ""),
        (f"{SUSPICIOUS}: few of its labels", "It ends by itself once it contradicts them no longer. "),
        ("there is no head", "It ends with the device's next report. "),
    ],
)
def test_what_ends_a_quarantine_is_said_as_it_is(why: str, ends: str) -> None:
    assert f"{why}. {ends}To count it again: edge-fleet readmit w" in aside_of("w", why)
