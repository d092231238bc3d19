"""The audit log: written with the act, and a chain in which every tampering shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.audit import COUNT, entries, problems, record
from aggregator.cli import main
from aggregator.store import DeviceRow, MemoryStore, Store
from aggregator.store.location import sqlite_url
from aggregator.store.rows import AUDIT, QUARANTINED, QuarantineRow
from aggregator.store.sql import SqlStore


def written(count: int) -> MemoryStore:
    store = MemoryStore()
    with store.transaction():
        for number in range(count):
            record(store, "local:anna", "remove", f"wrist-{number}", 1000.0 + number, reports=number)
    return store


@pytest.mark.parametrize("count", [0, 1, 1203])
def test_a_chain_that_nobody_touched_holds(count: int) -> None:
    store = written(count)
    assert problems(store) == []
    assert [row.number for row in entries(store)] == list(range(1, count + 1))


def cut_off(store: Store) -> None:
    store.rows(AUDIT).remove(5)


def taken_out(store: Store) -> None:
    store.rows(AUDIT).remove(3)


def begun_later(store: Store) -> None:
    store.rows(AUDIT).remove(1)


def changed(**values: object) -> Callable[[Store], None]:
    def change(store: Store) -> None:
        row = store.rows(AUDIT).get(3)
        assert row is not None
        store.rows(AUDIT).put(replace(row, **values))  # type: ignore[arg-type]

    return change


@pytest.mark.parametrize(
    "tamper",
    [
        cut_off, taken_out, begun_later, changed(who="local:eve"), changed(act="deliver"), changed(subject="wrist-9"),
        changed(detail="{}"), changed(at_s=1.0), changed(sha256="0" * 64),
    ],
)  # fmt: skip
def test_whatever_is_changed_shows(tamper: Callable[[Store], None]) -> None:
    store = written(5)
    tamper(store)
    assert problems(store) != []


def test_an_act_that_fails_leaves_no_entry() -> None:
    store = written(2)

    def fail() -> None:
        with store.transaction():
            record(store, "local:anna", "remove", "wrist-7", 1000.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (store.number(COUNT), problems(store)) == (2, [])


def test_the_commands_write_it_show_it_and_check_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, place = SqlStore(sqlite_url(tmp_path)), ["--state-dir", str(tmp_path)]
    with store.transaction():
        store.put_device(DeviceRow("wrist-1", 0.0, 1000.0))
        store.rows(QUARANTINED).put(QuarantineRow("wrist-1", 7, "no head with it", 1000.0))
    assert main(["readmit", "wrist-1", *place]) == 0
    assert main(["readmit", "wrist-1", *place]) == 2
    assert main(["deliver", "--withdraw", "--all", *place]) == 0
    capsys.readouterr()
    assert main(["audit", "--json", *place]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["act"], first["subject"], first["detail"]) == ("readmit", "wrist-1", {"reports": 1})
    assert first["who"].startswith("local:")
    assert (second["act"], second["detail"]["devices"]) == ("withdraw", ["all"])
    assert main(["audit", "--verify", *place]) == 0
    assert second["sha256"] in capsys.readouterr().out
    with store.transaction():
        store.rows(AUDIT).remove(2)
    store.close()
    assert main(["audit", "--verify", *place]) == 7
    assert "2 entries were written, the last one there is 1" in capsys.readouterr().err
