"""Keeps collections in a database: a table for each, made from the fields of its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Generic

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    select,
    tuple_,
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
    key = [*table.primary_key]
    made: Executable = (
        insertion.on_conflict_do_update(index_elements=key, set_=rest)
        if rest
        else insertion.on_conflict_do_nothing(index_elements=key)
    )
    return made


@dataclass(frozen=True, slots=True)
class Access:
    """What runs statements in the open transaction. run: any; rows: what one that is made once selects of a table;
    change: runs one that is made once, and returns how many rows of a table it has changed; put_many: inserts or
    replaces, at the latest before anything else is asked of the table."""

    run: Run
    rows: Run
    change: Run
    put_many: Run


@cache
def bound(table: Table, names: tuple[str, ...]) -> tuple[tuple[str, ...], ColumnElement[bool]]:
    """What the values of these columns are called in a statement that is made once, and that the columns have them."""
    called = tuple(f"its_{name}" for name in names)
    pairs = zip(names, called, strict=True)
    return called, and_(True, *(table.c[name] == bindparam(place) for name, place in pairs))


@cache
def selected(table: Table, names: tuple[str, ...], key: tuple[str, ...]) -> Select[Any]:
    """The rows of which these columns have the values that are bound, by key."""
    return select(table).where(bound(table, names)[1]).order_by(*(table.c[name] for name in key))


@cache
def counted(table: Table, names: tuple[str, ...]) -> Select[Any]:
    """How many these are."""
    return select(func.count()).select_from(table).where(bound(table, names)[1])


@cache
def removed(table: Table, names: tuple[str, ...]) -> Executable:
    """Removes them."""
    return delete(table).where(bound(table, names)[1])


class SqlRows(Generic[Row]):
    """Implements `aggregator.store.collection.Rows`. Most statements are made once, see `aggregator.store.prepared`."""

    def __init__(self, access: Access, table: Table, collection: Collection[Row]) -> None:
        self._access, self._run, self._table, self._collection = access, access.run, table, collection
        self._key = [table.c[name] for name in collection.key]
        self._names = tuple(table.c.keys())
        self._values = attrgetter(*self._names)

    def get(self, *key: Value) -> Row | None:
        found = self._found(self._leading(key), key)
        return found[0] if found else None

    def put(self, row: Row) -> None:
        self.put_all([row])

    def put_all(self, rows: Sequence[Row]) -> None:
        values = self._values
        each = [values(row) if len(self._names) > 1 else (values(row),) for row in rows]
        self._access.put_many(self._table, self._names, each)

    def remove(self, *leading: Value) -> int:
        names = self._leading(leading)
        return int(self._access.change(removed(self._table, names), bound(self._table, names)[0], leading, self._table))

    def all(self, *leading: Value, after: tuple[Value, ...] = (), count_max: int | None = None) -> list[Row]:
        if not after and count_max is None:
            return self._found(self._leading(leading), leading)
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
        return self._found(tuple(equal), tuple(equal.values()))

    def keys(self, first: Sequence[Value]) -> list[tuple[Value, ...]]:
        found: list[tuple[Value, ...]] = []
        for start in range(0, len(first), ROWS_AT_ONCE):
            query = select(*self._key).where(self._key[0].in_(first[start : start + ROWS_AT_ONCE]))
            found += [tuple(row) for row in self._run(query).all()]
        return sorted(found)

    def greatest(self, field: str, per: str, **equal: Value) -> dict[Value, Value]:
        name = self._table.c[per]
        query = select(name, func.max(self._table.c[field])).where(self._equal(equal)).group_by(name)
        return {row[0]: row[1] for row in self._run(query)}

    def tally(self, per: str, *leading: Value) -> dict[Value, int]:
        name = self._table.c[per]
        query = select(name, func.count()).where(self._begins(leading)).group_by(name)
        return {row[0]: int(row[1]) for row in self._run(query)}

    def count(self, *leading: Value) -> int:
        names = self._leading(leading)
        places = bound(self._table, names)[0]
        return int(self._access.rows(counted(self._table, names), places, leading, self._table)[0][0])

    def _found(self, names: tuple[str, ...], values: tuple[Value, ...]) -> list[Row]:
        """The rows of which these columns have these values, by key."""
        statement = selected(self._table, names, self._collection.key)
        rows = self._access.rows(statement, bound(self._table, names)[0], values, self._table)
        return [self._collection.row(*row) for row in rows]

    def _leading(self, values: tuple[Value, ...]) -> tuple[str, ...]:
        return self._collection.key[: len(values)]

    def _equal(self, equal: dict[str, Value]) -> ColumnElement[bool]:
        return and_(True, *(self._table.c[name] == value for name, value in equal.items()))

    def _begins(self, leading: tuple[Value, ...]) -> ColumnElement[bool]:
        return and_(True, *(column == value for column, value in zip(self._key, leading, strict=False)))
