"""One conformance suite for every store: the one in memory and the one on a database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, insert, text

from aggregator.filters import parse_filter
from aggregator.registry import VOCABULARY
from aggregator.store import RefusalRow, RegistryRow
from aggregator.store.protocol import Store
from aggregator.store.schema import metadata
from aggregator.store.sql import SqlStore, events_wanted
from aggregator.store.stored import (
    DeliveryRow,
    DeviceRow,
    EventQuery,
    EventRow,
    PartIndices,
    StoredHead,
    StoredPart,
    StoredStatistics,
    StoredUpdate,
    ToldStatistics,
)
from headway.errors import StoreError
from tests.aggregator.stores import opened_store


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    yield from opened_store(request, tmp_path)


def statistics(device: str, epoch: int, counter: int = 1, space: str = "s") -> StoredStatistics:
    return StoredStatistics(device, epoch, counter, space, b"\0tables")


def test_numbers_start_at_zero_and_hold_53_bits(store: Store) -> None:
    with store.transaction():
        assert store.number("boot") == 0
        store.put_number("boot", 2**53)
        store.put_number("boot", 2**53 - 1)
    with store.transaction():
        assert store.number("boot") == 2**53 - 1


def test_what_is_looked_up_together_is_what_is_stored_also_after_it_was_written(store: Store) -> None:
    def seen(name: str) -> tuple[object, ...]:
        return (
            store.device(name), store.registry.get(name), store.epoch_count(name), store.statistics(name, 1),
            store.statistics(name, 2), store.is_removed(name, 2), store.sequence(name, 1), store.part_indices(name, 1),
        )  # fmt: skip

    def write(name: str, at: int) -> None:
        store.put_device(DeviceRow(name, 1.0, float(at), online=True))
        store.registry.put([RegistryRow(name, 1.0, float(at), labels=at)])
        store.put_statistics(statistics(name, 1, at))
        store.put_sequence(name, 1, at, 3, "{}")
        store.put_part(StoredPart(name, 1, at, "f", at, b"part"))

    names = ["a", "b", "unknown"]
    with store.transaction():
        for name in names[:2]:
            write(name, 1)
        store.remove_epoch("b", 2)
    with store.transaction():
        asked = {name: seen(name) for name in names}
    with store.transaction():
        store.look_up(names)
        assert {name: seen(name) for name in names} == asked
        write("a", 2)
        write("unknown", 2)
        store.put_statistics(statistics("a", 2))
        store.remove_parts("b", 1)
        now = {name: seen(name) for name in names}
    with store.transaction():
        assert {name: seen(name) for name in names} == now
        store.look_up(names)
        store.remove_epoch("a", 2)
        store.remove_device("unknown")
        assert (store.statistics("a", 2), store.is_removed("a", 2), store.epoch_count("a")) == (None, True, 1)
        assert (store.device("unknown"), store.registry.get("unknown"), store.statistics("unknown", 1)) == (None,) * 3


def test_columns_of_devices_come_without_the_rest_and_the_size_is_known(store: Store) -> None:
    rows = [RegistryRow(name, 1.0, 2.0, labels=labels) for name, labels in (("b", 7), ("a", 3), ("c", 9))]
    wanted = parse_filter("labels > 5", VOCABULARY)
    with store.transaction():
        store.registry.put(rows)
        assert sorted(store.registry.columns(("device", "labels"))) == [("a", 3), ("b", 7), ("c", 9)]
        assert sorted(store.registry.columns(("device",), wanted, 3.0)) == [("b",), ("c",)]
        assert store.registry.columns(("accuracy_gain",), wanted, 3.0) == [(None,), (None,)]
        assert (store.size_bytes() > 0) == isinstance(store, SqlStore)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_reading_transaction_sees_one_moment_holds_up_nobody_and_writes_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    url = url if kind == "sqlite" else request.getfixturevalue("postgresql").new_database()
    writer, reader = SqlStore(url), SqlStore(url)
    with writer.transaction():
        writer.put_number("boot", 1)
        with reader.reading():
            assert reader.number("boot") == 0
    with reader.reading():
        assert reader.number("boot") == 1
        with writer.transaction():  # would wait for the reader otherwise, and never come to its end
            writer.put_number("boot", 2)
        assert reader.number("boot") == 1
    with pytest.raises(StoreError), reader.reading():
        reader.put_number("boot", 7)
    # the same store writes as before
    with reader.transaction():
        assert reader.number("boot") == 2
        reader.put_number("boot", 3)
    for store in (writer, reader):
        store.close()


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with store.transaction():
        store.put_statistics(statistics("a", 1))

    def fail_before_the_commit() -> None:
        with store.transaction():
            store.put_statistics(statistics("a", 1, counter=2))
            store.put_number("boot", 1)
            store.add_event(EventRow("a", "x", "{}", 1.0), 10)
            raise RuntimeError("no power")

    with pytest.raises(RuntimeError):
        fail_before_the_commit()
    with store.transaction():
        assert store.statistics("a", 1) == statistics("a", 1)
        assert store.number("boot") == 0
        assert store.events() == []


def test_devices_are_replaced_and_listed_by_name(store: Store) -> None:
    newer = DeviceRow("b", 1.0, 9.0, True, 2, 2**52, 3, 4, b"r", b"m", 5, 6, 7)
    with store.transaction():
        assert store.device("b") is None
        assert store.device_count() == 0
        store.put_device(DeviceRow("b", 1.0, 2.0))
        store.put_device(DeviceRow("a", 1.0, 2.0))
        store.put_device(newer)
        assert store.device("b") == newer
        assert store.device_count() == 2
        assert [row.device for row in store.devices()] == ["a", "b"]
        store.put_devices([DeviceRow("c", 1.0, 2.0), newer, DeviceRow("b", 1.0, 3.0)])
        store.put_devices([])
        assert [(row.device, row.last_seen_s) for row in store.devices()] == [("a", 2.0), ("b", 3.0), ("c", 2.0)]


def test_statistics_are_kept_per_device_and_epoch_and_found_by_space(store: Store) -> None:
    rows = [statistics("a", 1), statistics("a", 2), statistics("b", 1), statistics("c", 1, space="other")]
    with store.transaction():
        for row in [statistics("a", 2, counter=7), *rows]:
            store.put_statistics(row)
        assert store.statistics("a", 2) == rows[1]
        assert store.statistics("b", 2) is None
        assert sorted(store.every_statistics("s"), key=lambda row: (row.device, row.epoch)) == rows[:3]
        assert list(store.every_statistics("s", "b")) == [rows[2]]
        assert store.epoch_count("a") == 2
        assert store.epoch_count("z") == 0
        assert store.contributor_count("s") == 2
        assert store.contributor_count("none") == 0


def test_what_was_looked_up_is_never_older_than_what_the_same_transaction_wrote(store: Store) -> None:
    waits = [StoredUpdate("a", 1, sequence, "s", b"d", 1.0) for sequence in (1, 2)]
    with store.transaction():
        store.put_sequence("a", 1, 1, 7, "one")
        store.put_update(waits[0])
        store.put_head(StoredHead(1, "average", "s", b"h", 1.0), 5)
    with store.transaction():
        store.look_up(["a", "b"])
        assert (store.sequence("a", 1), store.sequence("b", 1)) == (1, 0)
        assert (store.update_count("a"), store.head_version()) == (1, 1)
        for device, epoch, sequence in (("a", 1, 2), ("a", 3, 1), ("b", 1, 1), ("c", 1, 5)):
            store.put_sequence(device, epoch, sequence, 8, f"{sequence}")
            found = (store.sequence(device, epoch), store.sequence_run_id(device, epoch))
            assert (*found, store.sequence_history(device, epoch)) == (sequence, 8, f"{sequence}")
        assert store.sequence("a", 1) == 2
        store.put_update(waits[1])
        assert (store.update_count("a"), store.update_count("b")) == (2, 0)
        store.remove_updates("s")
        assert store.update_count("a") == 0
        store.put_head(StoredHead(4, "average", "s", b"h", 1.0), 5)
        assert store.head_version() == 4
        store.remove_heads_after(1)
        assert store.head_version() == 1
        store.remove_device("a")
        assert (store.sequence("a", 1), store.sequence("b", 1)) == (0, 1)
    with store.transaction():
        assert (store.sequence("b", 1), store.sequence("c", 1), store.head_version()) == (1, 5, 1)


def test_updates_wait_in_order_until_a_head_took_them(store: Store) -> None:
    rows = [StoredUpdate(device, 1, sequence, "s", b"d", 1.0) for device in "ab" for sequence in (1, 2)]
    with store.transaction():
        for row in reversed(rows):
            store.put_update(row)
            store.put_sequence(row.device, row.epoch, row.sequence)
        store.put_sequence("a", 1, 9)
        store.put_update(StoredUpdate("c", 1, 1, "other", b"d", 1.0))
        assert list(store.updates("s")) == rows
        assert list(store.updates("s", ["b"])) == rows[2:]
        assert list(store.updates("s", ["a", "b", "c"])) == rows
        assert store.update_keys("s") == [(row.device, row.epoch, row.sequence) for row in rows]
        assert (store.update_count(), store.update_count("a"), store.update_count("z")) == (5, 2, 0)
        store.remove_updates("s", frozenset("b"))
        assert list(store.updates("s")) == rows[2:]
        store.remove_updates("s")
        assert list(store.updates("s")) == []
        assert store.update_count() == 1
        assert store.sequence("a", 1) == 9
        assert store.sequence("a", 2) == 0


def test_the_newest_head_by_space_and_method_and_a_bounded_history(store: Store) -> None:
    with store.transaction():
        assert store.head() is None
        assert store.head_version("s") == 0
        for version in range(1, 8):
            method = "exact" if version % 2 else "average"
            store.put_head(StoredHead(version, method, "s", b"h", float(version)), 3)
        newest, average, missing = store.head(), store.head("s", "average"), store.head("other")
        assert newest is not None
        assert newest.version == 7
        assert average is not None
        assert average.version == 6
        assert missing is None
        assert store.head("s", "average") == StoredHead(6, "average", "s", b"h", 6.0)
        assert store.head_version("s") == store.head("s").version  # type: ignore[union-attr]
        assert store.head_version("elsewhere") == 0


def test_events_are_bounded_and_newest_first(store: Store) -> None:
    with store.transaction():
        for number in range(10):
            store.add_event(EventRow("a", f"e{number}", "{}", 1.0), 4)
        assert [event.name for event in store.events()] == ["e9", "e8", "e7", "e6"]
        assert [event.name for event in store.events(2)] == ["e9", "e8"]
        assert store.events(2, "nobody") == []
        assert store.events(2, store.events(1)[0].device) == store.events(2)


def test_events_of_a_device_or_a_kind_are_found_in_pages_either_way(store: Store) -> None:
    with store.transaction():
        for number in range(10):
            store.add_event(EventRow("ab"[number % 2], f"e{number % 3}", "{}", float(number)), 100)

        def moments(**wanted: object) -> list[float]:
            return [row.received_s for _, row in store.find_events(EventQuery(**wanted))]  # type: ignore[arg-type]

        assert moments() == [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
        assert moments(device="a", count_max=2) == [8.0, 6.0]
        assert moments(name="e1") == [7.0, 4.0, 1.0]
        assert moments(device="b", name="e0") == [9.0, 3.0]
        (newest, _), (next_, _) = store.find_events(EventQuery(count_max=2))
        assert newest > next_
        assert moments(before=next_, count_max=3) == [7.0, 6.0, 5.0]
        assert moments(after=next_) == [9.0]
        assert moments(after=0, device="b", count_max=2) == [1.0, 3.0]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize(
    "query",
    [
        EventQuery("dev-77"), EventQuery("dev-77", "e1"), EventQuery("dev-77", before=0),
        EventQuery("dev-77", "e1", before=0), EventQuery("dev-77", after=0), EventQuery("dev-77", count_max=500),
    ],
    ids=str,
)  # fmt: skip
def test_a_search_for_one_devices_events_reads_no_others(
    kind: str, query: EventQuery, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    url = url if kind == "sqlite" else request.getfixturevalue("made_database")
    SqlStore(url).close()
    engine = create_engine(url)
    rows = [{"device": f"dev-{n % 499}", "name": f"e{n % 3}", "detail": "{}", "received_s": 1.0} for n in range(5_000)]
    with engine.begin() as connection:
        connection.execute(delete(metadata.tables["events"]))
        connection.execute(insert(metadata.tables["events"]), rows)
    with engine.begin() as connection:
        if kind == "postgresql":
            connection.execute(text("ANALYZE events"))  # as autovacuum does by itself
        # from the middle, either way
        middle = int(connection.execute(text("SELECT avg(id) FROM events")).scalar_one())
        before, after = (None if end is None else middle for end in (query.before, query.after))
        query = replace(query, before=before, after=after)
        asked = events_wanted(query).compile(engine, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN"
        plan = "\n".join(str(row) for row in connection.execute(text(f"{explain} {asked}")))
    engine.dispose()
    assert "ix_events_device" in plan
    # what is called a scan of SQLite's reads every row, as does a sequential scan, or one along the numbers
    assert not re.search(r"SCAN events|Seq Scan|using events_pkey", plan), plan


def test_refusals_are_counted_per_device_and_reason(store: Store) -> None:
    with store.transaction():
        counts = [store.count_refusal(RefusalRow("a", "space", 1, f"p{n}", float(n))) for n in range(3)]
        store.count_refusal(RefusalRow("", "malformed", 2, "q", 1.0))
        assert counts == [1, 2, 3]
        assert store.refusals() == [
            RefusalRow("", "malformed", 2, "q", 1.0),
            RefusalRow("a", "space", 3, "p2", 2.0),
        ]


def test_parts_are_kept_in_order_per_device_and_epoch(store: Store) -> None:
    def part(device: str, epoch: int, index: int) -> StoredPart:
        return StoredPart(device, epoch, 7, "0" * 64, index, bytes([index]))

    with store.transaction():
        for row in (part("a", 1, 2), part("b", 1, 0), part("a", 1, 0), part("a", 2, 1)):
            store.put_part(row)
    with store.transaction():
        assert store.part_indices("a", 1) == PartIndices(7, "0" * 64, frozenset({0, 2}))
        assert store.part_indices("c", 1) is None
        assert [row.part for row in store.parts("a", 1)] == [0, 2]
        assert store.parts("a", 1)[1] == part("a", 1, 2)
        assert (store.part_count(), store.oldest_assembly()) == (4, ("a", 1))
        store.remove_parts("a", 1)
        assert (store.part_count(), store.oldest_assembly()) == (2, ("b", 1))
        store.remove_device("a")
        assert store.part_count() == 1


def test_a_sequence_remembers_which_life_told_it(store: Store) -> None:
    with store.transaction():
        assert store.sequence_run_id("a", 1) == 0
        store.put_sequence("a", 1, 5, 2**47, "place")
        assert store.sequence_history("a", 1) == "place"
        assert (store.sequence("a", 1), store.sequence_run_id("a", 1)) == (5, 2**47)


def test_removing_a_device_forgets_it_and_remembers_its_epochs(store: Store) -> None:
    with store.transaction():
        store.put_device(DeviceRow("a", 1.0, 2.0))
        store.put_device(DeviceRow("b", 1.0, 2.0))
        store.put_statistics(statistics("a", 1))
        store.put_statistics(statistics("b", 1))
        store.put_sequence("a", 2, 5)
        store.put_update(StoredUpdate("a", 2, 5, "s", b"d", 1.0))
        store.add_event(EventRow("a", "x", "{}", 1.0), 10)
        store.count_refusal(RefusalRow("a", "space", 1, "p", 1.0))
        store.request_removal("a", 3.0)
        store.request_removal("a", 4.0)
        assert store.removal_requests() == ["a"]
        store.remove_device("a")
        store.remove_device("never-seen")
        assert store.removal_requests() == []
        assert store.device("a") is None
        assert store.device("b") is not None
        assert store.statistics("a", 1) is None
        assert store.sequence("a", 2) == 0
        assert store.update_count() == 0
        assert store.events() == []
        assert store.refusals() == []
        assert store.is_removed("a", 1)
        assert store.is_removed("a", 2)
        assert not store.is_removed("a", 3)
        assert not store.is_removed("b", 1)


def test_clearings_are_kept_once_until_removed(store: Store) -> None:
    with store.transaction():
        for name in ("f/b", "f/a", "f/b"):
            store.put_clearing(name)
        assert store.clearings() == ["f/a", "f/b"]
        store.remove_clearing("f/a")
        store.remove_clearing("f/never")
        assert store.clearings() == ["f/b"]


def test_sqlite_keeps_what_was_committed_and_refuses_another_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    first = SqlStore(url)
    with first.transaction():
        first.put_statistics(statistics("a", 1))
    # not closed: what a killed process leaves behind
    second = SqlStore(url)
    with second.transaction():
        assert second.statistics("a", 1) == statistics("a", 1)
        second.put_number("schema", 99)
    with pytest.raises(StoreError, match="schema 99"):
        SqlStore(url)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"this is no database" * 100), "not a database"),
        (lambda path: path.mkdir(), "unable to open"),
    ],
)
def test_a_broken_database_is_one_line(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "store.sqlite"
    spoil(path)
    with pytest.raises(StoreError, match=message):
        SqlStore(f"sqlite:///{path}")


def test_orders_are_replaced_listed_and_forgotten_with_their_device(store: Store) -> None:
    ordered = DeliveryRow("a", "f" * 64, 2**29, "watch", "2", 2, "s", 1.5)
    with store.transaction():
        store.put_device(DeviceRow("a", 1.0, 2.0))
        store.put_delivery(DeliveryRow("a", "e" * 64, 1, "watch", "1", 1, "s", 1.0, True))
        store.put_delivery(ordered)
        store.put_delivery(DeliveryRow("", "", 0, "", "", 0, "", 1.0))
    with store.transaction():
        assert [row.device for row in store.deliveries()] == ["", "a"]
        assert store.deliveries()[1] == ordered
        store.remove_device("a")
        assert [row.device for row in store.deliveries()] == [""]


def test_what_is_told_is_kept_by_device_and_epoch(store: Store) -> None:
    first, second = ToldStatistics("a", 1, 4, 20), ToldStatistics("a", 2, -1, 3)
    with store.transaction():
        store.put_told([])
        store.put_told([first, second, ToldStatistics("b", 1, 9, 30, b"tables")])
        store.put_told([ToldStatistics("a", 1, 4, 20, b"older")])
    with store.transaction():
        assert sorted(store.told(), key=repr) == sorted([first, second, ToldStatistics("b", 1, 9, 30)], key=repr)
        assert [store.told_payload(*part) for part in (("a", 1), ("a", 2), ("c", 1))] == [b"older", b"", b""]
        store.remove_told("a")
        assert store.told() == [ToldStatistics("b", 1, 9, 30)]


def test_heads_are_found_by_their_bytes_and_forgotten_from_a_version_on(store: Store) -> None:
    with store.transaction():
        for version in (3, 4, 2**53):
            store.put_head(StoredHead(version, "exact", "s", bytes([version % 256]), 1.0), 16)
        assert store.has_head(b"\x03")
        assert not store.has_head(b"\x05")
        store.remove_heads_after(4)
    with store.transaction():
        newest = store.head()
        assert newest is not None
        assert newest.version == 4


def test_what_the_driver_itself_refuses_is_a_store_error_and_takes_the_transaction_back(tmp_path: Path) -> None:
    """Reports are read by statements that SQLAlchemy does not see fail."""
    path = tmp_path / "store.sqlite"
    store = SqlStore(f"sqlite:///{path}")
    with store.transaction():
        store.put_statistics(statistics("a", 1))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("ALTER TABLE sequences RENAME TO gone")

    def fails() -> None:
        with store.transaction():
            store.put_number("boot", 7)
            store.sequence("a", 1)

    with pytest.raises(StoreError, match="the database refused: no such table: sequences"):
        fails()
    with store.transaction():
        assert store.number("boot") == 0
        assert store.statistics("a", 1) == statistics("a", 1)
    store.close()
