"""A store that is only looked into, without SQLAlchemy, shows what the store itself shows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.registry import Request, find_page, list_page, put_filter_group, put_list_group, set_note, set_tags
from aggregator.store import DATABASE, OFFLINE, ONLINE, DeviceRow, RegistryRow, sqlite_url
from aggregator.store.registry_conditions import FLAGS
from aggregator.store.registry_row import ReadableRegistry
from aggregator.store.rows import GROUPS, MEMBERS, PROPERTIES, QUARANTINED, QuarantineRow
from aggregator.store.schema import metadata
from aggregator.store.sql import SqlStore
from aggregator.store.sqlite_reader import READ, opened
from headway.errors import StoreError

NOW_S = 10_000.0
ROW = RegistryRow(
    "pump-0", 1.0, 9_000.0, link=ONLINE, bundle="watch", bundle_version="1.2", bundle_and_version="watch 1.2"
)
ROWS = [
    ROW,
    replace(ROW, device="pump-1", labels=60, accuracy_gain=-0.25, link=OFFLINE),
    replace(ROW, device="pump-2", labels=7, accuracy_gain=0.5, last_seen_s=100.0),
    replace(ROW, device="Pump-3", bundle="wätch % _ ' \" --", labels=8, temperature_c=31.5),
]
ASKED = [
    Request(),
    Request("labels > 6.5 and accuracy_gain < 0"),
    Request("not accuracy_gain >= 0"),
    Request('bundle == "watch 1.2" or device contains "Pump"'),
    Request('device contains "\' or 1 = 1 --"'),
    Request("silent_for > 2h"),
    Request("not quarantined"),
    Request('tag.site == "north" and not group == "losing"'),
    Request('group == "pilots" or note'),
    Request("not temperature < 30"),
    Request(sort="accuracy_gain", count_max=1),
    Request(sort="-labels", count_max=2),
    Request(sort="-device"),
    Request(sort="silent_for"),
]


@pytest.fixture
def store(tmp_path: Path) -> SqlStore:
    made = SqlStore(sqlite_url(tmp_path))
    with made.transaction():
        for row in ROWS:
            made.put_device(DeviceRow(row.device, 1.0, 2.0))
        made.registry.put(ROWS)
        set_tags(made, ["pump-1", "pump-2"], {"site": "north"}, [])
        set_note(made, "pump-2", "by the door")
        put_list_group(made, "pilots", ["pump-0"], [], 1.0)
        put_filter_group(made, "losing", "accuracy_gain < 0", 1.0)
        made.rows(QUARANTINED).put(QuarantineRow("pump-1", 5, "no head with it", 3.0))
    return made


@pytest.mark.parametrize("request_", ASKED, ids=str)
def test_every_page_is_that_of_the_store(tmp_path: Path, store: SqlStore, request_: Request) -> None:
    found = opened(tmp_path / DATABASE)
    assert found is not None
    while True:
        with found.reading(), store.transaction():
            page = find_page(found, request_, NOW_S)
            assert page == list_page(store, request_, NOW_S)
        if not page.next:
            return
        request_ = replace(request_, after=page.next)


def test_one_device_and_counts_are_those_of_the_store(tmp_path: Path, store: SqlStore) -> None:
    found = opened(tmp_path / DATABASE)
    assert found is not None

    def asked(registry: ReadableRegistry) -> list[object]:
        return [
            registry.get("Pump-3"),
            registry.get("none"),
            registry.count(None, 0.0),
            sorted(registry.columns(["device"])),
        ]

    with store.transaction(), found.reading():
        assert asked(found.registry) == asked(store.registry)


def test_only_a_store_of_this_release_is_looked_into(tmp_path: Path, store: SqlStore) -> None:
    assert opened(tmp_path / "none") is None
    with store.transaction():
        store.put_device(DeviceRow("of-an-earlier-release", 1.0, 2.0))
    assert opened(tmp_path / DATABASE) is None
    store.close()
    (tmp_path / "text").write_text("no database at all, and longer than a header of a hundred bytes" * 4)
    assert opened(tmp_path / "text") is None


def test_the_tables_that_are_read_are_the_stores() -> None:
    assert set(metadata.tables) >= READ
    assert {*FLAGS.values(), MEMBERS.name, PROPERTIES.name, GROUPS.name} <= READ


def test_a_store_that_lacks_a_table_is_not_looked_into(tmp_path: Path, store: SqlStore) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("DROP TABLE settings_pending")
    assert opened(tmp_path / DATABASE) is None


def test_a_refusal_of_the_database_is_said(tmp_path: Path, store: SqlStore) -> None:
    found = opened(tmp_path / DATABASE)
    assert found is not None
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("DROP TABLE registry")
    with pytest.raises(StoreError, match="the database refused: no such table: registry"), found.reading():
        find_page(found, Request(), NOW_S)
