"""Rows that were put and are not written yet: those of a table go out together, by one call of the driver."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import LargeBinary, Table
from sqlalchemy.sql.expression import Executable

from aggregator.store.sql_rows import upsert_of

Values = tuple[Any, ...]
ROWS_MAX, BYTES_MAX = 500, 4 << 20


class _Held:
    """Of one table: how it is written, and what is to be, by primary key."""

    def __init__(self, table: Table, names: tuple[str, ...], dialect: str) -> None:
        self.statement, self.names = upsert_of(table, names, dialect), names
        self._key = itemgetter(*(names.index(column.name) for column in table.primary_key))
        # places of what may be large
        self._weighs = [names.index(column.name) for column in table.c if isinstance(column.type, LargeBinary)]
        self._rows: dict[Any, Values] = {}
        self._bytes = 0

    def put(self, rows: Sequence[Values]) -> bool:
        """Whether they are so many that they should be written now."""
        self._rows.update((self._key(row), row) for row in rows)
        for place in self._weighs:
            self._bytes += sum(len(row[place]) for row in rows)
        return len(self._rows) >= ROWS_MAX or self._bytes >= BYTES_MAX

    def take(self) -> list[Values]:
        """All rows; none is held any more."""
        rows = [*self._rows.values()]
        self._rows.clear()
        self._bytes = 0
        return rows


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
            held = self._tables[table] = _Held(table, names, self._dialect)
        self._waiting[table] = held
        return held.put(rows)

    def take(self, table: Table | None) -> Iterator[tuple[Executable, tuple[str, ...], list[Values]]]:
        """What is held of one table, or of all: the statement that writes a row, what its values are called, and the
        rows."""
        for its in [*self._waiting] if table is None else [table]:
            held = self._waiting.pop(its, None)
            if held is not None:
                yield held.statement, held.names, held.take()

    def drop(self) -> None:
        """The transaction is over."""
        for held in self._waiting.values():
            held.take()
        self._waiting.clear()
