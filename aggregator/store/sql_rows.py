"""Keeps collections in a database: a table for each, made from the fields of its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Generic

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    LargeBinary,
    MetaData,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.expression import Executable
from sqlalchemy.types import TypeEngine

from aggregator.store.collection import Collection, Row, Value

Run = Callable[..., Any]
ROWS_AT_ONCE = 500

# keys sort by code point in every store; PostgreSQL sorts by the language of the database unless told
CODE_POINTS = Text().with_variant(Text(collation="C"), "postgresql")
COLUMN_TYPES: dict[type, TypeEngine[Any]] = {
    str: CODE_POINTS, int: BigInteger(), float: Double(), bool: Boolean(), bytes: LargeBinary()
}  # fmt: skip


def table_of(collection: Collection[Any], metadata: MetaData) -> Table:
    """The table of a collection, added to `metadata`."""
    columns = [
        Column(name, COLUMN_TYPES[kind], primary_key=name in collection.key, nullable=False, autoincrement=False,
               index=name in collection.indexed)
        for name, kind in collection.columns().items()
        if kind is not None
    ]  # fmt: skip
    return Table(collection.name, metadata, *columns)


def put(run: Run, table: Table, values: dict[str, Any]) -> None:
    """Insert, or replace by primary key. With one writer two statements are as good as one, and portable."""
    same = and_(*(column == values[column.name] for column in table.primary_key))
    rest = {name: value for name, value in values.items() if not table.c[name].primary_key}
    if rest and run(update(table).where(same).values(rest)).rowcount:
        return
    if not rest and run(select(func.count()).select_from(table).where(same)).scalar():
        return
    run(insert(table), values)


def put_all(run: Run, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """The same for many rows at once; of each key the last row counts."""
    key = [*table.primary_key]
    newest = {tuple(row[column.name] for column in key): row for row in rows}
    names = list(newest)
    for start in range(0, len(names), ROWS_AT_ONCE):
        some = names[start : start + ROWS_AT_ONCE]
        there = key[0].in_([name for (name,) in some]) if len(key) == 1 else tuple_(*key).in_(some)
        run(delete(table).where(there))
        run(insert(table), [newest[name] for name in some])


def upsert_of(table: Table, names: Sequence[str], dialect: str) -> Executable:
    """The statement that inserts a row, or replaces the one of the same primary key. names: of all its values."""
    # both kinds of database write it alike, SQLAlchemy has a function for each, and loads slowly what nobody needs
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql

        kind: Any = postgresql.insert(table)
    else:
        from sqlalchemy.dialects import sqlite

        kind = sqlite.insert(table)
    insertion = kind.values({name: bindparam(name) for name in names})
    rest = {name: insertion.excluded[name] for name in names if not table.c[name].primary_key}
    replacing: Executable = insertion.on_conflict_do_update(index_elements=[*table.primary_key], set_=rest)
    return replacing


class SqlRows(Generic[Row]):
    """Implements `aggregator.store.collection.Rows`. run: executes a statement in the open transaction."""

    def __init__(self, run: Run, table: Table, collection: Collection[Row]) -> None:
        self._run, self._table, self._collection = run, table, collection
        self._key = [table.c[name] for name in collection.key]

    def get(self, *key: Value) -> Row | None:
        row = self._run(select(self._table).where(self._begins(key))).first()
        return None if row is None else self._collection.row(*row)

    def put(self, row: Row) -> None:
        put(self._run, self._table, asdict(row))  # type: ignore[call-overload]

    def put_all(self, rows: Sequence[Row]) -> None:
        put_all(self._run, self._table, [asdict(row) for row in rows])  # type: ignore[call-overload]

    def remove(self, *leading: Value) -> int:
        return int(self._run(delete(self._table).where(self._begins(leading))).rowcount)

    def all(self, *leading: Value, after: tuple[Value, ...] = (), count_max: int | None = None) -> list[Row]:
        query = select(self._table).where(self._begins(leading)).order_by(*self._key).limit(count_max)
        if after:
            query = query.where(tuple_(*self._key) > tuple_(*after))
        return [self._collection.row(*row) for row in self._run(query).all()]

    def among(self, first: Sequence[Value], least: Value | None = None) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(first), ROWS_AT_ONCE):
            some = first[start : start + ROWS_AT_ONCE]
            query = select(self._table).where(self._key[0].in_(some)).order_by(*self._key)
            if least is not None:
                query = query.where(self._key[1] >= least)
            found += [self._collection.row(*row) for row in self._run(query).all()]
        return found if len(first) <= ROWS_AT_ONCE else sorted(found, key=self._collection.key_of)

    def where(self, **equal: Value) -> list[Row]:
        query = select(self._table).where(self._equal(equal)).order_by(*self._key)
        return [self._collection.row(*row) for row in self._run(query).all()]

    def greatest(self, field: str, per: str, **equal: Value) -> dict[Value, Value]:
        name = self._table.c[per]
        query = select(name, func.max(self._table.c[field])).where(self._equal(equal)).group_by(name)
        return {row[0]: row[1] for row in self._run(query)}

    def tally(self, per: str, *leading: Value) -> dict[Value, int]:
        name = self._table.c[per]
        query = select(name, func.count()).where(self._begins(leading)).group_by(name)
        return {row[0]: int(row[1]) for row in self._run(query)}

    def count(self, *leading: Value) -> int:
        return int(self._run(select(func.count()).select_from(self._table).where(self._begins(leading))).scalar())

    def _equal(self, equal: dict[str, Value]) -> ColumnElement[bool]:
        return and_(True, *(self._table.c[name] == value for name, value in equal.items()))

    def _begins(self, leading: tuple[Value, ...]) -> ColumnElement[bool]:
        return and_(True, *(column == value for column, value in zip(self._key, leading, strict=False)))
