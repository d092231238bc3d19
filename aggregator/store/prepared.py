"""Statements made and compiled once, and run by the database's driver itself.

A statement of SQLAlchemy is made anew for each call, its compiled form looked up and every row wrapped: a tenth of a
millisecond and more, fourteen times for each report of a device. What every report needs is therefore asked like this:
SQLAlchemy writes the SQL for the database at hand, once, and the driver runs it in the transaction that it has open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.sql.expression import Executable

Convert = Callable[[Any], Any]
# of large rows a megabyte or two
ROWS_AT_ONCE = 16


class Prepared:
    """One statement for one kind of database.

    Values are given in the order in which the statement names them first (`bindparam`). A statement that writes takes
    values as the driver has them: no conversion is made of them.
    """

    def __init__(self, statement: Executable, names: Sequence[str], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self._sql: str = compiled.string
        self._names = tuple(names)
        # where the driver knows places instead of names, which value stands at each
        places: Sequence[str] | None = compiled.positiontup
        self._order = None if places is None else [self._names.index(name) for name in places]
        self._columns = tuple(getattr(statement, "selected_columns", ()))
        self._dialect = dialect
        self._converts: list[Convert | None] | None = None

    def run(self, connection: Connection, values: tuple[Any, ...]) -> Any:
        """The driver's cursor. Raises the driver's errors."""
        cursor = connection.connection.cursor()
        if self._order is None:
            cursor.execute(self._sql, dict(zip(self._names, values, strict=True)))
        else:
            cursor.execute(self._sql, tuple(values[index] for index in self._order))
        return cursor

    def run_many(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Once for each row of values, in one call of the driver. Raises the driver's errors."""
        cursor = connection.connection.cursor()
        try:
            if self._order is None:
                cursor.executemany(self._sql, [dict(zip(self._names, row, strict=True)) for row in rows])
            elif self._order == [*range(len(self._names))]:
                cursor.executemany(self._sql, rows)
            else:
                cursor.executemany(self._sql, [tuple(row[index] for index in self._order) for row in rows])
        finally:
            cursor.close()

    def rows(self, connection: Connection, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """What the statement selects."""
        cursor = self.run(connection, values)
        try:
            return self._converted(cursor, cursor.fetchall())
        finally:
            cursor.close()

    def each(self, connection: Connection, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """The same, row by row: where the driver can, never all in memory together."""
        cursor = self.run(connection, values)
        try:
            while found := cursor.fetchmany(ROWS_AT_ONCE):
                yield from self._converted(cursor, found)
        finally:
            cursor.close()

    def _converted(self, cursor: Any, found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        converts = self._converts
        if converts is None:
            converts = self._converts = self._from_driver(cursor.description)
        if not any(converts):
            return found
        return [
            tuple(value if convert is None else convert(value) for value, convert in zip(row, converts, strict=True))
            for row in found
        ]

    def _from_driver(self, description: Sequence[Sequence[Any]]) -> list[Convert | None]:
        """What makes of the driver's value of each column what SQLAlchemy would give; None where it is the same."""
        return [
            column.type.dialect_impl(self._dialect).result_processor(self._dialect, described[1])
            for column, described in zip(self._columns, description, strict=True)
        ]
