"""Keeps the registry in a database: a column per field of its row, and conditions as SQL with every value bound.

The whole table of 10,000 devices is read through in some 10 ms, so nothing but the name has an index: each would be
written with every message of a device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any as Anything

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Double,
    MetaData,
    Table,
    and_,
    bindparam,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.types import TypeEngine

from aggregator.filters import All, Any, Comparison, Condition, Flagged, InGroup, Not, Property, bound_of
from aggregator.store.registry_row import RegistryQuery, RegistryRow, Values
from aggregator.store.rows import MEMBERS, PROPERTIES, QUARANTINED, SETTINGS_PENDING, SETTINGS_REFUSED
from aggregator.store.sql_rows import CODE_POINTS, Run, put_all

TYPES: Mapping[str, TypeEngine[Anything]] = {
    "str": CODE_POINTS, "int": BigInteger(), "float": Double(), "float | None": Double(),
    "int | None": BigInteger(),
}  # fmt: skip
FLAGS = {
    "quarantined": QUARANTINED.name,
    "settings_pending": SETTINGS_PENDING.name,
    "settings_refused": SETTINGS_REFUSED.name,
}
COLUMNS = [field.name for field in fields(RegistryRow)]
POSITION = {"sqlite": "instr"}


def registry_table(metadata: MetaData) -> Table:
    """The table, added to `metadata`."""
    columns = [
        Column(
            field.name, TYPES[str(field.type)], primary_key=field.name == "device", nullable="None" in str(field.type)
        )
        for field in fields(RegistryRow)
    ]
    return Table("registry", metadata, *columns)


class SqlRegistry:
    """Implements `aggregator.store.registry_row.RegistryTable`.

    run: executes a statement in the open transaction. collections: the tables of the collections, by name. dialect:
    SQLAlchemy's name of the kind of database.
    """

    def __init__(self, run: Run, table: Table, collections: Mapping[str, Table], dialect: str) -> None:
        self._run, self._table, self._collections = run, table, collections
        # made once: a statement costs more to make than to run
        self._get = select(table).where(table.c.device == bindparam("name"))
        # the place of a text in another, from 1; LIKE would be blind to case on one database and not on the other
        self._position: Callable[..., ColumnElement[int]] = getattr(func, POSITION.get(dialect, "strpos"))

    def get(self, device: str) -> RegistryRow | None:
        row = self._run(self._get, {"name": device}).first()
        return None if row is None else RegistryRow(*row)

    def put(self, rows: Sequence[RegistryRow]) -> None:
        put_all(self._run, self._table, [{name: getattr(row, name) for name in COLUMNS} for row in rows])

    def find(self, query: RegistryQuery, now_s: float) -> list[RegistryRow]:
        statement = select(self._table)
        if query.condition is not None:
            statement = statement.where(self._clause(query.condition, now_s))
        device = self._table.c.device
        if query.sort is not None and query.sort.columns[0] != device.name:
            column = self._table.c[query.sort.columns[0]]
            statement = statement.order_by(
                column.is_(None), column.desc() if query.descending else column.asc(), device
            )
        else:
            statement = statement.order_by(device.desc() if query.descending else device)
        if query.after is not None:
            statement = statement.where(self._behind(query))
        return [RegistryRow(*row) for row in self._run(statement.limit(query.count_max))]

    def columns(self, names: Sequence[str], condition: Condition | None = None, now_s: float = 0.0) -> list[Values]:
        clause = true() if condition is None else self._clause(condition, now_s)
        # a row of SQLAlchemy is a tuple
        return list(self._run(select(*(self._table.c[name] for name in names)).where(clause)).all())

    def count(self, condition: Condition | None, now_s: float) -> int:
        clause = true() if condition is None else self._clause(condition, now_s)
        return int(self._run(select(func.count()).select_from(self._table).where(clause)).scalar())

    def runs_space(self, space: str) -> bool:
        return self._run(select(self._table.c.device).where(self._table.c.space == space).limit(1)).first() is not None

    def _behind(self, query: RegistryQuery) -> ColumnElement[bool]:
        """What comes after the row that the query names."""
        value, name = query.after or (None, "")
        device = self._table.c.device
        if query.sort is None or query.sort.columns[0] == device.name:
            return device < name if query.descending else device > name
        column = self._table.c[query.sort.columns[0]]
        if value is None:
            return and_(column.is_(None), device > name)
        last = _bound(value)
        further = column < last if query.descending else column > last
        return or_(column.is_(None), further, and_(column == last, device > name))

    def _clause(self, condition: Condition, now_s: float) -> ColumnElement[bool]:
        match condition:
            case All(parts):
                return and_(true(), *(self._clause(part, now_s) for part in parts))
            case Any(parts):
                return or_(false(), *(self._clause(part, now_s) for part in parts))
            case Not(part):
                return not_(self._clause(part, now_s))
            case Comparison(field):
                operator, value = bound_of(condition, now_s)
                return or_(*(self._holds(self._table.c[column], operator, value) for column in field.columns))
            case Property(family, name, operator, value):
                known = self._collections[PROPERTIES.name].c
                same = and_(known.family == family, known.name == name)
                named = select(known.device).where(same, self._holds(known.value, operator, value))
                return self._table.c.device.in_(named)
            case Flagged(flag):
                return self._table.c.device.in_(select(self._collections[FLAGS[flag]].c.device))
            case InGroup(group):
                known = self._collections[MEMBERS.name].c
                return self._table.c.device.in_(select(known.device).where(known.group_name == group))

    def _holds(self, column: ColumnElement[Anything], operator: str, value: str | float) -> ColumnElement[bool]:
        """False, never NULL, where the column is: `Not` turns it around."""
        known = column.is_not(None)
        match operator:
            case "known":
                return known
            case "contains":
                return and_(known, self._position(column, literal(str(value), CODE_POINTS)) > 0)
            case "<":
                return and_(known, column < _bound(value))
            case "<=":
                return and_(known, column <= _bound(value))
            case ">":
                return and_(known, column > _bound(value))
            case ">=":
                return and_(known, column >= _bound(value))
            case _:
                return and_(known, column == _bound(value))


def _bound(value: str | float) -> ColumnElement[Anything]:
    """A value as a parameter of its own type: a count may be compared with a fraction."""
    return literal(value, CODE_POINTS) if isinstance(value, str) else literal(float(value), Double())
