"""Reports that are read before their turn, also by other processes, are taken in as if each had been read then."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.heads import FleetModel
from aggregator.policy import Policy
from aggregator.readers import SLOTS_EACH, SLOTS_IN_HAND, Readers
from aggregator.reading_ahead import AHEAD_BYTES_MIN, ReadingAhead
from aggregator.store import StoredStatistics
from aggregator.store.memory import MemoryStore
from aggregator.store.registry_sql import TABLE
from aggregator.store.sql import SqlStore
from headway.errors import RemoteError
from headway.maths.statistics import Statistics
from headway.ports import Received, SystemClock
from headway.wire.messages import StatisticsReport, change_between
from headway.wire.plain_reports import read_reports
from headway.wire.topics import Kind, topic
from headway_simulation.model import Model
from tests.aggregator.fleets import CLASSES, FLEET, Fleet, acks, statistics_message, tables

VARIANT = Model(160, CLASSES).variant


def report(device: str, counter: int, seed: int, claimed: str = "") -> Received:
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (120, 160)).astype(np.int8)
    tables = Statistics.of(codes, random.integers(0, len(CLASSES), 120), CLASSES, VARIANT.space)
    payload = StatisticsReport(claimed or device, 1, counter, tables).encode()
    assert len(payload) >= AHEAD_BYTES_MIN
    return Received(topic(FLEET, device, Kind.STATISTICS), payload)


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with Readers(2, SystemClock()) as made:
        yield ready(made)


def ready(readers: Readers) -> Readers:
    """Once all of them can be asked."""
    readers.begin()
    for reader in readers._readers:
        assert reader._receive(30.0)
    assert all(reader.takes for reader in readers._readers)
    return readers


def test_a_batch_of_wide_reports_counts_as_the_same_reports_one_by_one(readers: Readers) -> None:
    first = [report(f"d{number}", 1, number) for number in range(7)]
    damaged = report("d1", 3, 11)
    batches = [
        first,
        [
            report("d0", 2, 20), first[3], replace(damaged, payload=damaged.payload[:-1] + b"x"), report("d0", 3, 21),
            report("d0", 2, 22), report("d4", 2, 23, claimed="d5"), report("d5", 2, 24), report("new", 1, 25),
        ],
    ]  # fmt: skip
    together = Fleet(build_model=lambda: FleetModel.of(VARIANT), readers=readers)
    alone = Fleet(build_model=lambda: FleetModel.of(VARIANT))
    for batch in batches:
        told = acks(together.send(*batch))
        # nobody keeps what the readers need for the next
        assert len(readers._free) == 2 * SLOTS_EACH + SLOTS_IN_HAND
        answered = [acks(alone.send(message)) for message in batch]
        for device, every in told.items():
            # one by one a device is answered each time, the last answer is the same
            assert every[-1] == next(some[device][-1] for some in reversed(answered) if device in some)
    assert together.core.statistics == alone.core.statistics
    assert together.core.weighed == alone.core.weighed
    assert together.refusals == alone.refusals
    assert together.refusals == {("d1", "malformed"): 1, ("d4", "forged"): 1}


def test_narrow_reports_read_and_written_together_leave_the_rows_and_sums_of_one_by_one(tmp_path: Path) -> None:
    def narrow(device: str, counter: int, seed: int, classes: tuple[str, ...] = CLASSES) -> Received:
        return statistics_message(device, 1, counter, tables(20 * counter, seed, classes))

    first = [narrow(f"d{number}", 1, number) for number in range(9)]
    damaged = narrow("d3", 2, 40)
    before = StatisticsReport("d5", 1, 1, tables(20, 5))
    change = change_between(before, StatisticsReport("d5", 1, 2, before.statistics + tables(5, 50)))
    assert change is not None
    batches = [
        first,
        [
            narrow("d0", 2, 20), narrow("d0", 3, 21), narrow("d0", 2, 22), first[1], narrow("new", 1, 23),
            replace(damaged, payload=damaged.payload[:-1]), narrow("d2", 2, 24, ("run", "idle", "swim")),
            Received(topic(FLEET, "d5", Kind.STATISTICS), change.encode()), narrow("d4", 3, 25), Received("what", b"?"),
            narrow("d6", 2, 26), narrow("d7", 2, 27), narrow("d8", 2, 28), narrow("d4", 4, 29),
        ],
    ]  # fmt: skip
    stores = [SqlStore(f"sqlite:///{tmp_path / name}.sqlite") for name in ("together", "alone")]
    together, alone = (Fleet(store=store, policy=Policy(publish_interval_s=1e9)) for store in stores)
    for batch in batches:
        together.send(*batch)
        with alone.store.transaction():
            for message in batch:
                alone.core.receive([message], alone.instant)
    sums = []
    for fleet in (together, alone):
        with fleet.store.transaction():
            sums.append((fleet.core.statistics, fleet.core.weighed))
    assert sums[0] == sums[1]
    assert len(sums[0][0].classes) == 4
    assert together.refusals == alone.refusals
    for table in ("statistics", "devices", TABLE, "ripe", "sums"):
        rows = []
        for name in ("together", "alone"):
            with closing(sqlite3.connect(tmp_path / f"{name}.sqlite")) as connection:
                rows.append(connection.execute(f"SELECT * FROM {table}").fetchall())  # noqa: S608
        assert rows[0], table
        assert sorted(rows[0]) == sorted(rows[1]), table
    for store in stores:
        store.close()


def test_a_transaction_that_fails_writes_nothing_of_what_it_held(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'held'}.sqlite")
    row = StoredStatistics("d0", 1, 1, "5" * 64, b"report", 3)

    def fail() -> None:
        with store.transaction():
            store.put_statistics(row)
            assert store.statistics("d0", 1) == row
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.transaction():
        assert store.statistics("d0", 1) is None
        assert store.contributions("5" * 64) == []
        store.put_statistics(row)
        # whoever asks finds what was put, written or not
        assert [found.counter for found in store.contributions("5" * 64)] == [1]
        store.put_statistics(replace(row, counter=2))
        assert next(store.every_statistics("5" * 64)).counter == 2
    with store.transaction():
        assert store.statistics("d0", 1) == replace(row, counter=2)
    store.close()


def test_what_was_read_ahead_stands_for_its_own_bytes_alone_and_is_forgotten_with_the_batch(readers: Readers) -> None:
    store, told = MemoryStore(), [report("d0", counter, counter).payload for counter in range(1, 13)]
    before = StoredStatistics("d0", 1, 1, VARIANT.space, told[0], 120)
    with store.transaction():
        store.put_statistics(before)
    ahead = ReadingAhead(store, lambda _: 1, readers)
    for asked in (before, replace(before, counter=12, payload=told[11])):
        # what is stored comes once more, and one that nobody can read
        ahead.begin([("d0", payload) for payload in (*told[:11], told[11][:-1])], 160)
        assert [ahead.report(payload, 160).counter for payload in told[1:11]] == [*range(2, 12)]
        with pytest.raises(RemoteError):
            ahead.report(told[11][:-1], 160)
        stored = ahead.stored(asked)
        assert stored is not None
        assert stored.counter == asked.counter
        ahead.end()
        assert (len(ahead._waiting), len(ahead._asked), len(ahead._stored)) == (0, 0, 0)
    assert ahead.report(told[3], 160).counter == 4


@pytest.mark.parametrize(("size_max", "together"), [(160, [5]), (1023, [4, 1]), (2047, [])])
def test_wide_reports_between_narrow_ones_do_not_part_them_and_wide_tables_do(
    monkeypatch: pytest.MonkeyPatch, readers: Readers, size_max: int, together: list[int]
) -> None:
    counts: list[int] = []

    def counted(payloads: list[bytes], size_max: int) -> list[StatisticsReport | RemoteError]:
        counts.append(len(payloads))
        return read_reports(payloads, size_max)

    monkeypatch.setattr("aggregator.reading_ahead.read_reports", counted)
    narrow = [statistics_message(f"d{number}", 1, 1, tables(20, number)).payload for number in range(5)]
    wide = [report(f"w{number}", 1, number).payload for number in range(2)]
    batch = [narrow[0], wide[0], *narrow[1:3], wide[1], *narrow[3:]]
    ahead = ReadingAhead(MemoryStore(), lambda _: 0, readers)
    ahead.begin((("somebody", payload) for payload in batch), size_max)
    for payload in batch:
        ahead.reach(payload)
        assert ahead.report(payload, size_max) == StatisticsReport.decode(payload, size_max)
    assert counts == together
