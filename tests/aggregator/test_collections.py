"""One conformance suite for collections of rows, in memory and on a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from aggregator.registry import resolved
from aggregator.store import Collection, DeliveryRow, DeviceRow, RegistryRow, Store
from aggregator.store.collection import TYPES, Rows
from aggregator.store.rows import DAYS, EVERY, ROLLOUT_DEVICES, DayRow, RolloutDeviceRow
from tests.aggregator.stores import opened_store

SAMPLES: dict[str, tuple[Any, ...]] = {
    "str": ("", "Zürich\n\u202e'; --", "a"),
    "int": (0, 2**53, 7),
    "float": (0.0, 1.5e300, -2.5),
    "bool": (False, True, True),
    "bytes": (b"", b"\0\xff", b"x"),
}


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    yield from opened_store(request, tmp_path)


def samples(collection: Collection[Any]) -> list[Any]:
    """Three rows of different keys, the middle one with values that are hard to keep."""
    return [
        collection.row(**{field.name: SAMPLES[str(field.type)][index] for field in fields(collection.row)})
        for index in range(3)
    ]


def test_what_was_put_comes_back_by_key(store: Store, subtests: pytest.Subtests) -> None:
    assert len(EVERY) > 50
    for collection in EVERY:
        with subtests.test(collection=collection.name):
            rows = samples(collection)
            with store.transaction():
                for row in [*rows, *rows]:
                    store.rows(collection).put(row)
            with store.transaction():
                kept = store.rows(collection)
                assert [kept.get(*collection.key_of(row)) for row in rows] == rows
                assert kept.count() == 3
                assert kept.all() == sorted(rows, key=collection.key_of)
                assert kept.all(after=collection.key_of(kept.all()[0]), count_max=1) == kept.all()[1:2]
                assert kept.where(**{collection.key[0]: getattr(rows[1], collection.key[0])}) == [rows[1]]
                assert kept.remove(*collection.key_of(rows[1])) == 1
                assert kept.get(*collection.key_of(rows[1])) is None
                assert kept.remove() == 2
                kept.put(rows[0])
                kept.put_all(rows)
                kept.put_all([])
                assert kept.all() == sorted(rows, key=collection.key_of)


def test_the_greatest_of_a_field_is_found_for_each_value_of_another(store: Store, subtests: pytest.Subtests) -> None:
    for collection in EVERY:
        with subtests.test(collection=collection.name):
            first, second, third = samples(collection)
            # PostgreSQL has no greatest of bytes
            field = [name for name, kind in collection.columns().items() if kind is not bytes][-1]
            per = collection.key[0]
            with store.transaction():
                store.rows(collection).put_all([first, second, third])
                found = store.rows(collection).greatest(field, per=per)
                assert found == {getattr(row, per): getattr(row, field) for row in (first, second, third)}
                assert store.rows(collection).greatest(field, per=per, **{per: getattr(second, per)}) == {
                    getattr(second, per): getattr(second, field)
                }
                if per != field:
                    shared = [replace(row, **{per: getattr(first, per)}) for row in (first, third)]
                    store.rows(collection).remove()
                    for row in shared:
                        store.rows(collection).put(row)
                    kept = store.rows(collection).where(**{per: getattr(first, per)})
                    assert store.rows(collection).greatest(field, per=per) == {
                        getattr(first, per): max(getattr(row, field) for row in kept)
                    }


def test_rows_are_counted_by_a_field(store: Store) -> None:
    rows = [RolloutDeviceRow("spring", f"d{at}", at, state, "", 0.0) for at, state in enumerate(("there", "sent"))]
    with store.transaction():
        devices = store.rows(ROLLOUT_DEVICES)
        assert devices.tally("state") == {}
        devices.put_all([*rows, replace(rows[0], device="d9"), replace(rows[0], rollout="summer")])
        assert devices.tally("state") == {"there": 3, "sent": 1}
        assert devices.tally("state", "spring") == {"there": 2, "sent": 1}
        assert devices.tally("stage", "summer") == {0: 1}


def test_devices_are_counted_and_summed_by_their_values(store: Store) -> None:
    known = [("a", "s1", "lda", 5, 0.5), ("b", "s1", "lda", 7, None), ("c", "s1", "fleet", 2**52, 0.0)]
    with store.transaction():
        assert store.registry.totals(("space",), ("labels",)) == []
        store.registry.put([
            RegistryRow(name, 1.0, 2.0, space=space, head=head, labels=labels, served_accuracy=accuracy)
            for name, space, head, labels, accuracy in known
        ])  # fmt: skip
        by_head = store.registry.totals(("space", "head"), ("labels", "scored"))
        assert sorted(by_head) == [("s1", "fleet", 1, 2**52, 0), ("s1", "lda", 2, 12, 0)]
        judged = resolved(store, "served_accuracy >= 0")
        assert store.registry.totals(("space",), ("labels",), judged) == [("s1", 2, 5 + 2**52)]


def test_orders_are_counted_by_their_bundle(store: Store) -> None:
    order = DeliveryRow("d1", "a" * 64, 10, "pump", "1.2", 3, "s1", 0.0)
    others = replace(order, device="d2"), replace(order, device=""), replace(order, device="d3", sha256="")
    with store.transaction():
        for row in (order, *others):
            store.put_delivery(row)
        assert store.ordered(("", "_aggregator")) == {("a" * 64, "pump", "1.2", 3): 2}


def test_a_failed_transaction_takes_its_rows_along(store: Store, subtests: pytest.Subtests) -> None:
    for collection in EVERY:
        with subtests.test(collection=collection.name):
            first, second, _ = samples(collection)
            with store.transaction():
                store.rows(collection).put(first)
            with pytest.raises(ArithmeticError):
                fail_before_the_commit(store, collection, first, second)
            with store.transaction():
                assert store.rows(collection).all() == [first]


def fail_before_the_commit(store: Store, collection: Collection[Any], first: Any, second: Any) -> None:
    with store.transaction():
        store.rows(collection).put(second)
        store.rows(collection).remove(*collection.key_of(first))
        raise ArithmeticError


def test_rows_of_a_device_go_with_it(store: Store, subtests: pytest.Subtests) -> None:
    for collection in EVERY:
        with subtests.test(collection=collection.name):
            mine, *others = samples(collection)
            mine = replace(mine, **{collection.key[0]: "d1"}) if collection.of_devices else mine
            with store.transaction():
                for row in (mine, *others):
                    store.rows(collection).put(row)
                store.remove_device("d1")
                assert (store.rows(collection).get(*collection.key_of(mine)) is None) == collection.of_devices
                assert store.rows(collection).count() == 3 - collection.of_devices


def test_rows_are_found_by_the_first_of_several_keys(store: Store) -> None:
    several = next(collection for collection in EVERY if len(collection.key) > 1)
    first, second, third = samples(several)
    third = replace(third, **{several.key[0]: getattr(second, several.key[0])})
    with store.transaction():
        kept = store.rows(several)
        for row in (first, second, third):
            kept.put(row)
        shared = getattr(second, several.key[0])
        assert kept.all(shared) == sorted([second, third], key=several.key_of)
        assert kept.count(shared) == 2
        assert kept.remove(shared) == 2
        assert kept.all() == [first]


@dataclass(frozen=True)
class Odd:
    name: str
    values: list[int]


def test_rows_of_several_first_keys_are_found_at_once(store: Store) -> None:
    rows = [DayRow(device, day, 1, 1, 1, 1) for device in ("a", "b", "c") for day in (3, 4, 5)]
    with store.transaction():
        store.rows(DAYS).put_all(rows)
        store.rows(DAYS).put_all([replace(rows[0], labels=9), rows[0]])
        assert store.rows(DAYS).count() == 9
    with store.transaction():
        found = store.rows(DAYS)
        assert found.among(["c", "a", "none"]) == [*rows[:3], *rows[6:]]
        assert found.among(["a", "b"], 5) == [rows[2], rows[5]]
        assert found.among([]) == []


def test_keys_that_begin_so_are_found_without_their_rows(store: Store) -> None:
    rows = [DayRow(device, day, 1, 1, 0, 9) for device in ("b", "a", "c") for day in (3, 1)]
    with store.transaction():
        days = store.rows(DAYS)
        days.put_all(rows)
        assert days.keys(["c", "a", "nobody"]) == [("a", 1), ("a", 3), ("c", 1), ("c", 3)]
        days.remove("a", 1)
        assert days.keys(["a"]) == [("a", 3)]
        assert days.keys([]) == []


def test_what_was_put_into_several_collections_by_turns_is_there_whatever_is_asked(store: Store) -> None:
    with store.transaction():
        days, devices = store.rows(DAYS), store.rows(ROLLOUT_DEVICES)
        # more than a store may hold back
        for count in range(600):
            days.put(DayRow("a", count % 550, count, 0, 0, 0))
            devices.put(RolloutDeviceRow("r", f"d{count % 3}", 1, str(count), "", 1.0))
        assert days.count("a") == 550
        days.put(DayRow("a", 7, 1000, 0, 0, 0))
        assert days.get("a", 7) == DayRow("a", 7, 1000, 0, 0, 0)
        days.put(DayRow("a", 8, 1001, 0, 0, 0))
        assert days.remove("a", 8) == 1
        days.put(DayRow("a", 9, 1002, 0, 0, 0))
    with store.transaction():
        assert [row.day for row in store.rows(DAYS).where(labels=1002)] == [9]
        assert store.rows(DAYS).get("a", 8) is None
        assert [row.state for row in store.rows(ROLLOUT_DEVICES).all("r")] == ["597", "598", "599"]


def test_a_row_that_was_just_put_is_there_by_every_way_of_asking(store: Store, subtests: pytest.Subtests) -> None:
    ways: dict[str, Callable[[Rows[DayRow], DayRow], bool]] = {
        "get": lambda days, row: days.get("a", row.day) == row,
        "all": lambda days, row: days.all()[-1] == row,
        "all of one": lambda days, row: days.all("a")[-1] == row,
        "a page": lambda days, row: days.all(after=("a", row.day - 1), count_max=1) == [row],
        "among": lambda days, row: days.among(["a"], row.day) == [row],
        "where": lambda days, row: days.where(labels=row.labels) == [row],
        "keys": lambda days, row: days.keys(["a"])[-1] == ("a", row.day),
        "greatest": lambda days, row: days.greatest("labels", per="device") == {"a": row.labels},
        "tally": lambda days, row: days.tally("device") == {"a": row.day},
        "count": lambda days, row: days.count("a") == row.day,
        "remove": lambda days, row: days.remove("a", row.day) == 1,
        "the device goes": lambda days, row: (store.remove_device("a"), days.count())[1] == 0,
    }
    with store.transaction():
        for day, (way, found) in enumerate(ways.items(), 1):
            with subtests.test(way=way):
                row = DayRow("a", day, 10 * day, 0, 0, 0)
                store.rows(DAYS).put(row)
                assert found(store.rows(DAYS), row)


def test_what_waits_to_be_written_goes_with_a_transaction_that_fails(store: Store) -> None:
    def put(device: str, number: int) -> None:
        store.rows(DAYS).put(DayRow(device, number, 0, 0, 0, 0))
        store.put_number("n", number)
        store.put_sequence(device, 1, number)
        store.put_device(DeviceRow(device, number, number))
        store.registry.put([RegistryRow(device, number, number)])

    def fail() -> None:
        with store.transaction():
            put("a", 1)
            assert (store.number("n"), store.sequence("a", 1)) == (1, 1)
            put("a", 2)
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    with store.transaction():
        store.rows(DAYS).put(DayRow("b", 3, 0, 0, 0, 0))
        assert (store.number("n"), store.sequence("a", 1), store.device("a")) == (0, 0, None)
        put("b", 3)
    with store.transaction():
        assert [row.device for row in store.rows(DAYS).all()] == ["b"]
        assert (store.number("n"), store.sequence("a", 1), store.sequence("b", 1)) == (3, 0, 3)
        assert (store.device("a"), store.registry.get("a")) == (None, None)
        assert store.device("b") == DeviceRow("b", 3, 3)


def test_a_field_that_no_database_holds_is_named() -> None:
    with pytest.raises(TypeError, match="collection odd: field values is none of str, int"):
        Collection("odd", Odd, ("name",))
    assert set(TYPES) == set(SAMPLES)
