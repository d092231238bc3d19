"""One conformance suite for every store, and what only the one on disk must withstand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edge_agent.store import Changes, MemoryStore, OutboxRow, SQLiteStore, Store
from edge_agent.store.store import MIGRATIONS, Condition, StoreFailure
from headway.errors import LaterVersionError, StoreError

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store again and again; the memory one stays the same object."""
    memory = MemoryStore()
    return (lambda: memory) if request.param == "memory" else (lambda: SQLiteStore(tmp_path / "agent.sqlite"))


def test_a_new_store_is_empty(open_store: Open) -> None:
    store = open_store()
    assert store.load() == {}
    assert store.outbox(0, 10) == []
    assert store.outbox_size() == (0, 0)


def test_what_is_committed_is_there_for_the_next_one(open_store: Open) -> None:
    open_store().commit(Changes({"learner": b"one", "sync": b"a"}, (OutboxRow(1, b"u1"), OutboxRow(2, b"u22"))))
    open_store().commit(Changes({"learner": b"two"}))
    store = open_store()
    assert store.load() == {"learner": b"two", "sync": b"a"}
    assert store.outbox(0, 10) == [OutboxRow(1, b"u1"), OutboxRow(2, b"u22")]
    assert store.outbox(1, 10) == [OutboxRow(2, b"u22")]
    assert store.outbox(0, 1) == [OutboxRow(1, b"u1")]
    assert store.outbox_size() == (2, 5)


def test_only_an_acknowledgement_empties_the_outbox(open_store: Open) -> None:
    store = open_store()
    store.commit(Changes({}, tuple(OutboxRow(i, b"x") for i in range(1, 6))))
    store.commit(Changes({"sync": b"b"}, acknowledged=3))
    assert [row.sequence for row in open_store().outbox(0, 10)] == [4, 5]


def test_a_checkpoint_takes_the_place_of_the_journal(open_store: Open) -> None:
    for entry in (b"one", b"two"):
        open_store().commit(Changes({}, journal=(entry,)))
    assert open_store().journal() == [b"one", b"two"]
    open_store().commit(Changes({"index": b"i", "piece/a": b"a"}, checkpoint=True))
    open_store().commit(Changes({"index": b"j", "piece/b": b"b"}, dropped=("piece/a",), journal=(b"three",)))
    assert open_store().load() == {"index": b"j", "piece/b": b"b"}
    assert open_store().journal() == [b"three"]


def test_remembered_windows_come_back_in_order(open_store: Open) -> None:
    open_store().commit(Changes({}, windows={"b": b"1", "a": b"2", "c": b"3"}))
    open_store().commit(Changes({}, windows={"b": b"4"}, forgotten=("a",)))
    assert open_store().windows() == [("b", b"4"), ("c", b"3")]


def test_a_commit_is_all_or_nothing(open_store: Open) -> None:
    store = open_store()
    store.commit(Changes({"learner": b"old"}, (OutboxRow(1, b"x"),)))
    with pytest.raises(StoreError):
        store.commit(Changes({"learner": b"new"}, (OutboxRow(1, b"again"),)))
    assert store.load() == {"learner": b"old"}
    store.commit(Changes({"learner": b"next"}))
    assert open_store().load() == {"learner": b"next"}


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(StoreError, match=r"agent\.sqlite: file is not a database"):
        SQLiteStore(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(LaterVersionError, match="schema 99, this agent knows 5; upgrade"):
        SQLiteStore(path)


def test_a_store_of_the_first_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(MIGRATIONS[0])
        connection.executescript("PRAGMA user_version=1; INSERT INTO state VALUES ('learner', x'01');")
    store = SQLiteStore(path)
    store.commit(Changes({}, windows={"w": b"x"}))
    assert store.load() == {"learner": b"\x01"}
    assert SQLiteStore(path).windows() == [("w", b"x")]


def test_commits_are_fully_synchronous(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "agent.sqlite")
    run = store._connection.execute
    assert run("PRAGMA journal_mode").fetchone() == ("wal",)
    assert run("PRAGMA synchronous").fetchone() == (2,)


def test_a_schema_that_is_no_text_is_damage_and_not_the_end(tmp_path: Path) -> None:
    """SQLite says what it read on the disk, in bytes that are no text, so that its own message cannot be read."""
    path = tmp_path / "agent.sqlite"
    SQLiteStore(path).close()
    content = path.read_bytes()
    content = content.replace(b"CREATE TABLE journal", b"XREATE TABLE journal").replace(b"journal", b"j\xba\xbarnal")
    path.write_bytes(content)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(UnicodeDecodeError):
        connection.execute("PRAGMA journal_mode=WAL")
    with pytest.raises(StoreFailure) as caught:
        SQLiteStore(path)
    assert caught.value.condition is Condition.DAMAGED


def test_a_name_that_is_no_text_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    store = SQLiteStore(path)
    store.commit(Changes(state={"learner": b"x"}))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE state SET name = CAST(x'ba' AS TEXT)")
    with pytest.raises(StoreFailure) as caught:
        store.load()
    assert caught.value.condition is Condition.DAMAGED
