"""SQLite's log is moved into the database after answers have left, in portions, and stays bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from threading import Event

import pytest

from aggregator.store import MemoryStore, StoredUpdate, checkpoints, engine
from aggregator.store.serving import ServingStore
from aggregator.store.sql import SqlStore
from headway.errors import StoreError
from headway.ports import Connected
from tests.aggregator.fleets import statistics_message, tables
from tests.aggregator.test_service import service

# stores numbered rows for ever, with a checkpoint after nearly each, and tells of each when it is durable
WRITE = """
import sys
from aggregator.store import StoredUpdate, checkpoints
checkpoints.IDLE_PAGES = 30
from aggregator.store.serving import ServingStore
store = ServingStore(sys.argv[1])
while True:
    with store.transaction():
        number = store.number("last") + 1
        store.put_number("last", number)
        store.put_update(StoredUpdate("a", 1, number, "s", bytes(150_000), 1.0))
    print(number, flush=True)
    store.checkpoint(idle=True)
"""
PAGE = 8192
ROW_PAGES = 20


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds, small enough for a quick test."""
    monkeypatch.setattr(checkpoints, "IDLE_PAGES", 100)
    monkeypatch.setattr(checkpoints, "BUSY_PAGES", 400)
    monkeypatch.setattr(engine, "COMMIT_PAGES", 800)


@pytest.fixture
def store(tmp_path: Path, small: None) -> Iterator[ServingStore]:
    with_log = ServingStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with_log._checkpoints._move()  # what making the tables has written
    yield with_log
    with_log.close()


def write(store: SqlStore, rows: int, first: int = 0) -> None:
    """A transaction of so many rows of `ROW_PAGES` pages."""
    payload = bytes((ROW_PAGES - 1) * PAGE)
    with store.transaction():
        for number in range(first, first + rows):
            store.put_update(StoredUpdate("a", 1, number, "s", payload, 1.0))


def pages_of(folder: Path, end: str = "") -> int:
    return (folder / f"store.sqlite{end}").stat().st_size // PAGE


def test_pages_wait_in_the_log_until_nothing_else_waits_or_they_are_many(store: ServingStore, tmp_path: Path) -> None:
    before = pages_of(tmp_path)
    write(store, 6)
    steps = (False, 0, False), (True, 0, True), (True, 4, False), (False, 13, False), (False, 5, True)
    for turn, (idle, more, moved) in enumerate(steps):
        write(store, more, first=100 * (turn + 1))
        size = pages_of(tmp_path)
        store.checkpoint(idle)
        assert (pages_of(tmp_path) > size) is moved, (idle, more)
        if not moved:
            assert pages_of(tmp_path) == size
    assert pages_of(tmp_path) >= before + 28 * (ROW_PAGES - 1)


def test_a_log_that_was_moved_is_begun_anew_so_that_it_stays_as_long_as_one_portion(
    store: ServingStore, tmp_path: Path
) -> None:
    for turn in range(12):
        write(store, 6, first=6 * turn)
        store.checkpoint(idle=True)
    assert pages_of(tmp_path, "-wal") < 250
    with store.transaction():
        assert store.update_count() == 72


def test_a_commit_moves_the_log_itself_only_where_nobody_else_does(store: ServingStore, tmp_path: Path) -> None:
    command = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
    for writer, first in ((store, 0), (command, 1000)):
        for turn, moved in enumerate((False, False, True)):
            size = pages_of(tmp_path)
            write(writer, 15, first=first + 15 * turn)
            assert (pages_of(tmp_path) > size) is moved, (first, turn)
    command.close()


def test_what_a_reader_holds_back_is_moved_later(store: ServingStore, tmp_path: Path) -> None:
    write(store, 1)
    other = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with other.reading():
        assert other.update_count() == 1
        size = pages_of(tmp_path)
        for turn in range(4):
            write(store, 6, first=10 + 6 * turn)
            store.checkpoint(idle=True)
        assert pages_of(tmp_path) <= size + ROW_PAGES
        assert other.update_count() == 1
    write(store, 6, first=100)
    store.checkpoint(idle=True)
    assert pages_of(tmp_path) >= size + 30 * (ROW_PAGES - 1)
    other.close()


def test_a_log_that_grew_while_somebody_read_is_cut_again(store: ServingStore, tmp_path: Path) -> None:
    write(store, 1)
    other = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with other.reading():
        assert other.update_count() == 1
        for turn in range(8):
            write(store, 6, first=10 + 6 * turn)
        assert pages_of(tmp_path, "-wal") > 900
    for turn in range(2):
        write(store, 1, first=100 + turn)
    assert pages_of(tmp_path, "-wal") == 800
    other.close()


def test_a_copy_of_database_and_log_at_any_moment_holds_every_transaction(store: ServingStore, tmp_path: Path) -> None:
    for turn, idle in enumerate((None, True, None, False)):
        write(store, 6, first=6 * turn)
        if idle is not None:
            store.checkpoint(idle)
        copy = tmp_path / f"copy-{turn}.sqlite"
        for end in ("", "-wal"):
            copy.with_name(copy.name + end).write_bytes((tmp_path / f"store.sqlite{end}").read_bytes())
        opened = SqlStore(f"sqlite:///{copy}")
        with opened.reading():
            assert opened.update_count() == 6 * (turn + 1)
        opened.close()


def test_a_log_that_cannot_be_read_or_moved_is_one_clear_error_and_loses_nothing(
    store: ServingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 6)
    (tmp_path / "damaged").write_bytes(b"no database" * 1000)
    damaged = f"sqlite:///{tmp_path / 'damaged'}"
    for name, value, problem in (
        ("_log", tmp_path, f"cannot read {tmp_path}: Is a directory"),
        ("_engine", engine.open_engine(damaged), "log cannot be moved into it: file is not a database"),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(store._checkpoints, name, value)
            with pytest.raises(StoreError, match=problem):
                store.checkpoint(idle=True)
    with store.transaction():
        assert store.update_count() == 6


@pytest.mark.slow
def test_whoever_is_killed_at_any_moment_of_a_checkpoint_has_lost_nothing_that_was_committed(tmp_path: Path) -> None:
    random, committed = Random(7), 0
    for _ in range(40):
        command = [sys.executable, "-c", WRITE, f"sqlite:///{tmp_path / 'store.sqlite'}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(random.randint(1, 12))]
            Event().wait(random.random() * 0.01)  # into the next transaction or checkpoint
            writer.kill()
            told = int((writer.stdout.read().splitlines() or lines)[-1])
        store = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
        with store.reading():
            found = store.number("last")
            # the last one may be durable without having been told, and no other
            assert found in (told, told + 1)
            assert store.update_keys("s") == [("a", 1, number) for number in range(1, found + 1)]
        store.close()
        assert found > committed
        committed = found


def test_a_store_without_a_log_has_nothing_to_move(small: None) -> None:
    for store in (ServingStore("sqlite://"), MemoryStore()):
        store.checkpoint(idle=True)


def test_the_service_lets_the_database_do_it_after_its_answers_have_left_and_goes_on_where_it_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[tuple[bool, int]] = []

    def checkpoint(_: MemoryStore, idle: bool) -> None:
        asked.append((idle, sum(message.topic.endswith("/ack") for message in transport.sent)))
        raise StoreError("the disk refuses")

    monkeypatch.setattr(MemoryStore, "checkpoint", checkpoint)
    reports = [statistics_message(name, 1, 1, tables(30, 1)) for name in "abc"]
    made, transport = service(Connected(False), *reports)
    made._limits = type(made._limits)(messages_per_transaction_max=2)
    made.start()
    made.turn(0.0)
    made.turn(0.0)
    assert asked == [(False, 1), (True, 3)]
    assert caplog.messages.count("the disk refuses") == 2
