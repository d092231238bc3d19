"""Keeps the registry in a database: a column per field of its row.

The whole table of 10,000 devices is read through in some 10 ms, so nothing but the name has an index: each would be
written with every message of a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Column, Double, MetaData, Table, bindparam, select, text, update
from sqlalchemy.types import TypeEngine

from aggregator.filters import Condition
from aggregator.store.looked_up import LookedUp
from aggregator.store.registry_json import objects_of
from aggregator.store.registry_row import Heard, RegistryQuery, RegistryRow, Values
from aggregator.store.registry_sql import COLUMNS, TABLE, Statement
from aggregator.store.sql_rows import CODE_POINTS, Run

TYPES: Mapping[str, TypeEngine[Any]] = {
    "str": CODE_POINTS, "int": BigInteger(), "float": Double(), "float | None": Double(),
    "int | None": BigInteger(),
}  # fmt: skip


VALUES = attrgetter(*COLUMNS)
# under which a device, the day that its row counts, and the bytes of it are looked up
TODAY = "today"
HEARD = (*(f"its_{name}" for name in Heard._fields), "name")


def registry_table(metadata: MetaData) -> Table:
    """The table, added to `metadata`."""
    columns = [
        Column(
            field.name, TYPES[str(field.type)], primary_key=field.name == "device", nullable="None" in str(field.type)
        )
        for field in fields(RegistryRow)
    ]
    return Table(TABLE, metadata, *columns)


class SqlRegistry:
    """Implements `aggregator.store.registry_row.RegistryTable`.

    run: executes a statement in the open transaction; rows: what one that is made once selects of a table; put_many:
    inserts or replaces; change_many: runs one that is made once for each row of values. dialect: SQLAlchemy's name of
    the kind of database.
    """

    def __init__(
        self, run: Run, rows: Run, put_many: Run, change_many: Run, looked_up: LookedUp, table: Table, dialect: str
    ) -> None:
        self._run, self._rows, self._looked_up = run, rows, looked_up
        self._put_many, self._change_many = put_many, change_many
        self._table, self._dialect = table, dialect
        # made once: a statement costs more to make than to run
        changed: dict[str, Any] = {name: bindparam(f"its_{name}") for name in Heard._fields}
        self._hear = update(table).where(table.c.device == bindparam("name")).values(changed)
        self._get, self._get_today = (
            select(*(table.c[name] for name in names)).where(table.c.device == bindparam("name"))
            for names in (COLUMNS, ("device", "day", "day_bytes"))
        )

    def get(self, device: str) -> RegistryRow | None:
        found = self._looked_up.rows(TABLE, device)
        if found is None:
            found = self._rows(self._get, ("name",), (device,), self._table)
        return RegistryRow(*found[0]) if found else None

    def put(self, rows: Sequence[RegistryRow]) -> None:
        for row in rows:
            self._forget(row.device)
        self._put_many(self._table, COLUMNS, [VALUES(row) for row in rows])

    def today(self, device: str) -> tuple[int, int] | None:
        found = self._looked_up.rows(TODAY, device)
        if found is None:
            found = self._rows(self._get_today, ("name",), (device,), self._table)
        return found[0][1:] if found else None

    def hear(self, heard: Mapping[str, Heard]) -> None:
        for device in heard:
            self._forget(device)
        self._change_many(self._hear, HEARD, [(*values, device) for device, values in heard.items()], self._table)

    def find(self, query: RegistryQuery, now_s: float) -> list[RegistryRow]:
        statement = Statement(self._dialect, now_s)
        return [RegistryRow(*row) for row in self._ask(statement, statement.find(query))]

    def table(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Sequence[Values]:
        statement = Statement(self._dialect, now_s)
        return self._ask(statement, statement.find(query, names)).all()  # type: ignore[no-any-return]

    def objects(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Iterator[Values]:
        return objects_of(names, self.table((*names, query.column, "device"), query, now_s))

    def columns(self, names: Sequence[str], condition: Condition | None = None, now_s: float = 0.0) -> list[Values]:
        statement = Statement(self._dialect, now_s)
        # a row of SQLAlchemy is a tuple
        return list(self._ask(statement, statement.columns(names, condition)).all())

    def count(self, condition: Condition | None, now_s: float) -> int:
        statement = Statement(self._dialect, now_s)
        return int(self._ask(statement, statement.count(condition)).scalar())

    def totals(
        self, by: Sequence[str], of: Sequence[str], condition: Condition | None = None, now_s: float = 0.0
    ) -> list[Values]:
        statement = Statement(self._dialect, now_s)
        begins = len(by)
        # PostgreSQL's sum of large integers is a decimal number
        found = self._ask(statement, statement.totals(by, of, condition))
        return [(*row[:begins], *map(int, row[begins:])) for row in found]

    def runs_space(self, space: str) -> bool:
        return self._run(select(self._table.c.device).where(self._table.c.space == space).limit(1)).first() is not None

    def _forget(self, device: str) -> None:
        self._looked_up.forget(TABLE, device)
        self._looked_up.forget(TODAY, device)

    def _ask(self, statement: Statement, sql: str) -> Any:
        return self._run(text(sql), statement.values)
