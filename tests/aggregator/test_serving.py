"""One process serves a database: the second is refused or waits, and who was shut out writes nothing more."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from aggregator.store.engine import PROCESS, READING, SERVING, open_engine
from aggregator.store.pulse import LOOKS
from aggregator.store.serving import ServingPlace, ServingStore
from aggregator.store.sql import SqlStore
from headway.errors import StoreError
from testbed.postgresql import Postgresql

HOLD = """
import sys
from aggregator.store import pulse
from aggregator.store.serving import ServingPlace, ServingStore
pulse.BEAT_S = 0.05
with ServingPlace(sys.argv[1]) as place:
    taken = place.take()
    if "busy" in sys.argv:
        store = ServingStore(sys.argv[1])
        with store.transaction():
            print(taken, flush=True)
            sys.stdin.read()
    print(taken, flush=True)
    sys.stdin.read()
"""


def holder(url: str, *words: str) -> subprocess.Popen[str]:
    """Another process that has the place, until it is killed. words: `busy` for one that thinks in a transaction."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_second_on_a_file_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    first = holder(url)
    try:
        with ServingPlace(url) as place, pytest.raises(StoreError, match=r"another aggregator serves .*store\.sqlite"):
            place.take()
    finally:
        killed(first)
    with ServingPlace(url) as place:
        assert place.take()


def test_the_second_on_postgresql_waits_until_the_first_is_killed(postgresql: Postgresql) -> None:
    url = postgresql.new_database()
    first = holder(url)
    with ServingPlace(url) as place:
        assert not place.take()
        killed(first)
        # the server lets go when it has noticed
        assert any(place.take() for _ in range(1000))
        with ServingPlace(url) as third:
            assert not third.take()
    with ServingPlace(url) as place:
        assert any(place.take() for _ in range(1000))


def test_who_thinks_for_long_keeps_the_place_and_who_stands_still_loses_it_with_all_its_locks(
    postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aggregator.store.pulse.SILENCE_S", 1.0)
    url = postgresql.new_database()
    first = holder(url, "busy")
    try:
        with ServingPlace(url) as place:
            began_s = time.monotonic()
            while time.monotonic() - began_s < 1.5:
                assert not place.take()
            first.send_signal(signal.SIGSTOP)
            stopped_s = time.monotonic()
            while not place.take():
                assert time.monotonic() - stopped_s < 10
            # it was stopped within a transaction
            store = ServingStore(url)
            with store.transaction():
                store.put_number("boot", 1)
            store.close()
    finally:
        killed(first)


def test_one_look_at_an_old_beat_ends_nobody(postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the database has stood still, or its clock is put forward: by that clock every beat is old."""
    monkeypatch.setattr("aggregator.store.pulse.SILENCE_S", -1.0)
    url = postgresql.new_database()
    first, engine = holder(url), open_engine(url).execution_options(**{READING: True})
    newest = text(
        "SELECT max(state_change) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'headway-%' AND application_name <> :own"
    )

    def beat() -> object:
        with engine.begin() as connection:
            return connection.execute(newest, {"own": PROCESS}).scalar()

    try:
        with ServingPlace(url) as place:
            for _ in range(2 * LOOKS):
                assert not place.take()
                before = beat()
                assert any(beat() != before for _ in range(10_000)), "the holder is well"
            first.send_signal(signal.SIGSTOP)
            assert [place.take() for _ in range(LOOKS - 1)] == [False] * (LOOKS - 1)
            assert any(place.take() for _ in range(1000))
    finally:
        killed(first)
        engine.dispose()


def test_two_databases_of_one_server_are_served_by_two(postgresql: Postgresql) -> None:
    with ServingPlace(postgresql.new_database()) as one, ServingPlace(postgresql.new_database()) as other:
        assert one.take()
        assert other.take()


def test_a_lock_that_was_lost_unnoticed_shuts_out_its_owner(postgresql: Postgresql) -> None:
    url = postgresql.new_database()
    engine = open_engine(url)
    with ServingPlace(url) as first, ServingPlace(url) as second:
        assert first.take()
        old = ServingStore(url)
        with old.transaction():
            old.put_number("boot", 1)
        with engine.begin() as connection:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = :high"
            connection.execute(text(f"{ended} AND objid = :low"), {"high": SERVING >> 32, "low": SERVING & 0xFFFFFFFF})
        assert any(second.take() for _ in range(1000))
        with old.transaction():
            old.put_number("boot", 2)  # nobody has taken over yet
        new = ServingStore(url)
        with pytest.raises(StoreError, match="another aggregator serves this database now"), old.transaction():
            old.put_number("boot", 3)
        with new.transaction():
            assert new.number("boot") == 2
        old.close()
        new.close()
    engine.dispose()


def test_other_programs_are_not_shut_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    service, command = ServingStore(url), SqlStore(url)
    with command.transaction():
        command.request_removal("a", 1.0)
    with service.transaction():
        assert service.removal_requests() == ["a"]
    service.close()
    command.close()


def test_a_new_database_of_sqlite_has_large_pages_of_which_the_service_holds_more(tmp_path: Path) -> None:
    asked = ("PRAGMA page_size", "PRAGMA cache_size")
    old = sqlite3.connect(tmp_path / "old.sqlite")
    old.execute("CREATE TABLE something (n INTEGER)")
    old.close()
    for name, bytes_of_a_page in (("new", 8192), ("old", 4096)):
        url, found = f"sqlite:///{tmp_path / name}.sqlite", []
        for store in (ServingStore(url), SqlStore(url)):
            with store.transaction():
                found += [store._connection().exec_driver_sql(one).scalar() for one in asked]
            store.close()
        assert found == [bytes_of_a_page, -8000, bytes_of_a_page, -2000], name
