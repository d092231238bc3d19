"""A list of devices that is made column by column says what one made device by device says."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.commands.tables import print_table
from aggregator.filters import parse_filter
from aggregator.registry import (
    SHOWN,
    VOCABULARY,
    Request,
    as_plain,
    find_json,
    find_table,
    list_page,
    put_filter_group,
    set_note,
    set_tags,
    table_of,
)
from aggregator.store import (
    DATABASE,
    OFFLINE,
    ONLINE,
    DeviceRow,
    MemoryStore,
    ReadableStore,
    RegistryQuery,
    RegistryRow,
    sqlite_url,
)
from aggregator.store.protocol import Store
from aggregator.store.registry_json import encoded_column
from aggregator.store.rows import QUARANTINED, QuarantineRow
from aggregator.store.sql import SqlStore
from aggregator.store.sqlite_reader import opened
from headway.fields import JsonValue, json_line
from headway.printable import is_printable

NOW_S = 10_000.0
HOSTILE = '\x1b[2J\r\n\u202eevil "%s" wätch \\'
ASKED = [
    Request(),
    Request("labels > 6.5"),
    Request('tag.site == "north" or group == "losing"'),
    Request("labels > 1000"),
    Request(sort="accuracy_gain", count_max=2),
    Request(sort="-labels", count_max=3),
    Request(sort="-device", count_max=2),
    Request(sort="silent_for", count_max=1),
]


def filled(store: Store) -> Store:
    rows = [
        RegistryRow(
            f"pump-{number}", 1.5 * number, 9_000.0 + number / 7, link=(ONLINE, OFFLINE)[number % 2], labels=number,
            accuracy_gain=None if number % 3 else number / 9 - 0.5, served_accuracy=number / 11 if number % 4 else None,
            frozen_accuracy=0.5, bundle="watch", bundle_and_version="watch 1.2", refused=number % 2,
            refused_s=5.0 if number % 2 else None, refused_problem="late" if number % 2 else "",
        )
        for number in range(9)
    ]  # fmt: skip
    rows[4] = replace(rows[4], bundle=HOSTILE, bundle_and_version=HOSTILE, head=HOSTILE, problem=HOSTILE, machine="%d")
    with store.transaction():
        for row in rows:
            store.put_device(DeviceRow(row.device, 1.0, 2.0))
        store.registry.put(rows)
        set_tags(store, ["pump-1", "pump-4"], {"site": "north", "who": '%s \\ " ä'}, [])
        set_note(store, "pump-2", "by the door")
        put_filter_group(store, "losing", "accuracy_gain < 0", 1.0)
        store.rows(QUARANTINED).put(QuarantineRow("pump-4", 5, "no head with it", 3.0))
    return store


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield filled(MemoryStore())
    elif request.param == "postgresql":
        yield filled(request.getfixturevalue("postgresql_store"))
    else:
        database = SqlStore(sqlite_url(tmp_path))
        yield filled(database)
        database.close()


@pytest.mark.parametrize("request_", ASKED, ids=str)
def test_columns_are_those_of_the_page_on_every_store(store: Store, request_: Request) -> None:
    while True:
        with store.transaction():
            page, table = list_page(store, request_, NOW_S), find_table(store, request_, SHOWN, NOW_S)
        expected = table_of(page, SHOWN)
        assert [tuple(row[: len(SHOWN)]) for row in table.rows] == expected.rows
        assert (table.marks, table.next) == (expected.marks, expected.next)
        if not page.next:
            return
        request_ = replace(request_, after=page.next)


@pytest.mark.parametrize("request_", ASKED, ids=str)
def test_json_has_each_device_to_the_bit_on_every_store(store: Store, tmp_path: Path, request_: Request) -> None:
    readers: list[ReadableStore] = [store]
    quick = opened(tmp_path / DATABASE)
    readers += [] if quick is None else [quick]
    while True:
        with store.transaction():
            page = list_page(store, request_, NOW_S)
        for reader in readers:
            with reader.reading():
                pieces, after = find_json(reader, request_, NOW_S)
            told = json.loads("".join(pieces), parse_constant=pytest.fail)
            assert [json_line(row) for row in _sorted(told)] == [
                json_line(row) for row in _sorted(map(as_plain, page.devices))
            ]
            assert (after, "".join(pieces).isascii()) == (page.next, True)
        if not page.next:
            return
        request_ = replace(request_, after=page.next)


def _sorted(rows: Iterable[dict[str, JsonValue]]) -> list[JsonValue]:
    return [dict(sorted(row.items())) for row in rows]


def test_json_has_no_number_that_is_none(tmp_path: Path) -> None:
    store = filled(SqlStore(sqlite_url(tmp_path)))
    store.close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("UPDATE registry SET temperature_c = 9e999, served_r2 = -9e999, labels = 9007199254740993")
    quick = opened(tmp_path / DATABASE)
    assert quick is not None
    with quick.reading():
        rows = json.loads("".join(find_json(quick, Request(), NOW_S)[0]), parse_constant=pytest.fail)
    assert {(row["temperature_c"], row["served_r2"], row["labels"]) for row in rows} == {(None, None, 2**53 + 1)}


def test_a_long_list_comes_in_pieces_that_fit(tmp_path: Path) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    names = [f"d-{number:04}" for number in range(1234)]
    with store.transaction():
        store.registry.put([RegistryRow(name, 1.0, 2.0) for name in names])
        set_tags(store, names[::100], {"site": "north"}, [])
    quick = opened(tmp_path / DATABASE)
    assert quick is not None
    for reader in (store, quick):
        with reader.reading():
            for count_max in (None, 1, 200, 1001, 1233, 1234, 1235):
                pieces, after = find_json(reader, Request(count_max=count_max), NOW_S)
                rows = json.loads("".join(pieces))
                assert [row["device"] for row in rows] == names[:count_max]
                assert [row["tags"] for row in rows[::100]] == [{"site": "north"}] * len(rows[::100])
                assert bool(after) == (count_max is not None and count_max < 1234)


def test_a_column_alone_keeps_the_order_of_the_query(store: Store) -> None:
    query = RegistryQuery(parse_filter("labels > 5", VOCABULARY), VOCABULARY.fields["labels"], True, None, 2)
    with store.transaction():
        assert [tuple(row) for row in store.registry.table(["labels", "device"], query, NOW_S)] == [
            (8, "pump-8"), (7, "pump-7")
        ]  # fmt: skip


def test_the_list_as_json_is_a_line_of_json_for_each_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = filled(SqlStore(sqlite_url(tmp_path)))
    with store.transaction():
        page = list_page(store, Request(), NOW_S)
    assert opened(tmp_path / DATABASE) is not None
    assert main(["devices", "--json", "--state-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    lines = out.removeprefix("[").removesuffix("]\n").split(",\n ")
    assert [json.loads(line) for line in lines] == [as_plain(view) for view in page.devices]
    assert [row["device"] for row in json.loads(out)] == [f"pump-{number}" for number in range(9)]
    assert main(["devices", "--filter", "labels > 100", "--json", "--state-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_the_list_as_a_table_has_a_printable_line_for_each_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(SqlStore(sqlite_url(tmp_path)))
    assert main(["devices", "--state-dir", str(tmp_path)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert all(map(is_printable, [*lines, *said.err.splitlines()]))
    assert [line.split()[:2] for line in lines[1:10]] == [
        [f"pump-{number}", ("yes", "no")[number % 2]] for number in range(9)
    ]
    assert lines[10].startswith("pump-4: \\x1b[2J\\r\\n\\u202eevil")
    assert said.err.splitlines()[0].startswith("pump-4: what it reported is set aside")
    assert said.err.count("refused 1 times") == 4


@pytest.mark.parametrize(
    "column",
    [
        ["a", "ä\n", "\x7f", "\u2028"], [1, 2, None, 4], [0.1, 1e300, -0.0, None], [float("nan"), 1.0, float("inf")],
        [True, False, None], ["same"] * 8, [None] * 8, [1.5] * 8, [1e308] * 3 + [1.1e308, 1.2e308, 0.5, 0.25], [],
    ],
    ids=str,
)  # fmt: skip
def test_a_column_is_written_as_each_value_is(column: list[object]) -> None:
    assert encoded_column(column) == [json_line(value) for value in column]


def test_a_terminal_gets_plain_lines_of_a_long_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    rows = [(str(number),) for number in range(2000)]

    def of_a_terminal() -> list[tuple[str]]:
        raise AssertionError("nobody waits for rules around 2,000 lines")

    print_table(("N",), of_a_terminal, "\n".join(row[0] for row in rows), frozenset())
    assert len(capsys.readouterr().out.splitlines()) == 2000
    print_table(("N",), lambda: rows[:3], "plain", frozenset())
    assert "plain" not in capsys.readouterr().out
