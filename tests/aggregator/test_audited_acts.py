"""Every act of an operator on the command line leaves an entry of the audit log, and a refused one none."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.audit import entries, problems
from aggregator.cli import main
from aggregator.store import DeviceRow
from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from tests.headway.bundles import small_variant

ACTS = {
    "tag": ("tag", "pump-1", "--set", "site=north"),
    "note": ("note", "pump-1", "behind the boiler"),
    "save-group": ("groups", "save", "northern", 'tag.site == "north"'),
    "list-group": ("groups", "list", "canaries", "--add", "pump-1"),
    "delete-group": ("groups", "delete", "canaries"),
    "set-alert-rule": ("alert-rules", "set", "drift", "--off"),
    "remove-alert-rule": ("alert-rules", "remove", "drift"),
    "silence-alerts": ("silence", "add", "--rule", "disk", "--for", "8h", "--remark", "a new disk comes"),
    "end-silence": ("silence", "end", "1"),
    "rollout-start": ("rollout", "start", "spring", "two.hwb"),
    "rollout-halt": ("rollout", "halt", "spring", "--remark", "too early"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-1", 1.0, 1.0))
    store.close()
    (tmp_path / "two.hwb").write_bytes(small_variant().encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def acted(place: Path, words: tuple[str, ...]) -> int:
    command = list(words)
    at = 2 if words[0] in ("groups", "rollout", "alert-rules", "silence") else 1
    return main([*command[:at], "--state-dir", str(place), *command[at:]])


def log_of(place: Path) -> list[tuple[str, str]]:
    store = SqlStore(sqlite_url(place))
    with store.transaction():
        found = [(row.act, row.detail) for row in entries(store)]
        assert problems(store) == []
    store.close()
    return found


def test_acts_are_entered_in_their_order(place: Path) -> None:
    for act, words in ACTS.items():
        assert acted(place, words) == 0, act
    log = log_of(place)
    assert [act for act, _ in log] == list(ACTS)
    details = dict(log)
    assert "behind the boiler" in details["note"]
    assert "a new disk comes" in details["silence-alerts"]
    assert "too early" in details["rollout-halt"]


@pytest.mark.parametrize(
    "words",
    [
        ("acknowledge", "1"),
        ("silence", "end", "3"),
        ("note", "pump-2", "nobody"),
        ("groups", "save", "odd", "labels >"),
        ("rollout", "halt", "none"),
    ],
    ids=lambda words: words[0],
)
def test_a_refused_act_leaves_no_entry(place: Path, words: tuple[str, ...]) -> None:
    assert acted(place, words) != 0
    assert log_of(place) == []
