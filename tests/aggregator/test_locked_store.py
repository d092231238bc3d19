"""Several programs that start on one SQLite store: each waits for its turn, and who waits in vain is told why."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aggregator.store.location import sqlite_url
from aggregator.store.sql import SqlStore
from headway.errors import StoreError

OPEN = """
import sys
from aggregator.store.sql import SqlStore
for line in sys.stdin:
    store = SqlStore(line.strip())
    with store.transaction():
        store.put_number("n", store.number("n") + 1)
    store.close()
    print("open", flush=True)
"""


def test_programs_that_start_at_once_on_a_new_store_all_start(tmp_path: Path) -> None:
    words = [sys.executable, "-c", OPEN]
    started = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    folders = [tmp_path / str(number) for number in range(6)]
    for folder in folders:
        folder.mkdir()
    said = [one.communicate("".join(f"{sqlite_url(folder)}\n" for folder in folders))[0] for one in started]
    assert said == ["open\n" * len(folders)] * 4
    for folder in folders:
        store = SqlStore(sqlite_url(folder))
        with store.transaction():
            assert store.number("n") == 4
        store.close()


def test_a_store_that_is_locked_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    SqlStore(sqlite_url(tmp_path)).close()
    other = sqlite3.connect(tmp_path / "aggregator.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    done = threading.Timer(0.2, other.rollback)
    done.start()
    store = SqlStore(sqlite_url(tmp_path))
    with store.reading():
        assert store.number("schema") > 0
    done.join()
    store.close()
    other.close()


def test_opening_a_store_whose_tables_are_made_waits_for_no_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.store.engine.BUSY_TIMEOUT_MS", 1)
    service = SqlStore(sqlite_url(tmp_path))
    with service.transaction():
        service.put_number("held", 1)
        other = SqlStore(sqlite_url(tmp_path))
        with other.reading():
            assert other.number("held") == 0
        other.close()
    service.close()


def test_a_store_that_stays_locked_is_one_line_after_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.store.engine.BUSY_TIMEOUT_MS", 100)
    SqlStore(sqlite_url(tmp_path)).close()
    other = sqlite3.connect(tmp_path / "aggregator.sqlite", isolation_level=None)
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="another program has kept it locked") as raised:
        SqlStore(sqlite_url(tmp_path))
    assert "\n" not in str(raised.value)
    other.close()
