"""Rows that were put and are not written yet: those of a table go out together, by one call of the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sqlalchemy import LargeBinary, Table
from sqlalchemy.sql.expression import Executable

from aggregator.store.sql_rows import upsert_of

Values = tuple[Any, ...]
ROWS_MAX, BYTES_MAX = 500, 4 << 20


@dataclass(slots=True)
class _Held:
    """Of one table: how it is written, and what is to be, by primary key. weighs: places of what may be large."""

    statement: Executable
    names: tuple[str, ...]
    key: Any
    weighs: tuple[int, ...]
    rows: dict[Any, Values] = field(default_factory=dict)
    bytes: int = 0


class HeldRows:
    """Of one transaction at a time. dialect: SQLAlchemy's name of the kind of database."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        # statements are made once; of few tables anything waits
        self._tables: dict[Table, _Held] = {}
        self._waiting: dict[Table, _Held] = {}

    def put(self, table: Table, names: tuple[str, ...], rows: Sequence[Values]) -> bool:
        """Hold rows, each in the place of one of the same primary key. names: of their values, for each table always
        the same. Whether they should be written now."""
        held = self._tables.get(table)
        if held is None:
            key = itemgetter(*(names.index(column.name) for column in table.primary_key))
            weighs = tuple(names.index(column.name) for column in table.c if isinstance(column.type, LargeBinary))
            held = self._tables[table] = _Held(upsert_of(table, names, self._dialect), names, key, weighs)
        self._waiting[table] = held
        key, waiting = held.key, held.rows
        for row in rows:
            waiting[key(row)] = row
        for place in held.weighs:
            held.bytes += sum(len(row[place]) for row in rows)
        return len(waiting) >= ROWS_MAX or held.bytes >= BYTES_MAX

    def take(self, table: Table | None) -> Iterator[tuple[Executable, tuple[str, ...], list[Values]]]:
        """What is held of one table, or of all: the statement that writes a row, what its values are called, and the
        rows."""
        for its in [*self._waiting] if table is None else [table]:
            held = self._waiting.pop(its, None)
            if held is not None:
                rows = [*held.rows.values()]
                held.rows.clear()
                held.bytes = 0
                yield held.statement, held.names, rows

    def drop(self) -> None:
        """The transaction is over."""
        for held in self._waiting.values():
            held.rows.clear()
            held.bytes = 0
        self._waiting.clear()
