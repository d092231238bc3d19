"""Looks into a store in a file of SQLite without SQLAlchemy: all that `edge-fleet devices` needs, and no way to write.

Only a store of the present schema is read; who finds another opens it with `SqlStore`, which brings it up to date.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from aggregator.store.collection import Collection, Row, Value
from aggregator.store.location import BUSY_TIMEOUT_MS, SCHEMA
from aggregator.store.refusal_row import RefusalRow
from aggregator.store.registry_json import ascii_json, sqlite_parts
from aggregator.store.registry_row import RegistryQuery, RegistryRow, Values
from aggregator.store.registry_sql import COLUMNS, TABLE, Statement
from headway.errors import StoreError

if TYPE_CHECKING:
    from aggregator.filters import Condition

# values that SQLite takes in one statement, with room to spare
NAMES_AT_ONCE = 500
DIALECT = "sqlite"
# the tables that a look at devices reads; those who declare them take a while to load
READ = frozenset({
    "group_members", "groups", "properties", "quarantined", "refusals", TABLE, "settings_pending", "settings_refused",
})  # fmt: skip


def opened(path: Path) -> SqliteReader | None:
    """The store in this file; None where it is not of the present schema, or cannot be read as it is."""
    try:
        with ExitStack() as kept:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
            kept.callback(connection.close)
            connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            if _is_present(connection):
                kept.pop_all()
                return SqliteReader(connection)
    except sqlite3.Error:
        return None  # whoever opens it to bring it up to date says what is wrong
    return None


def _is_present(connection: sqlite3.Connection) -> bool:
    schema = connection.execute("SELECT value FROM numbers WHERE name = 'schema'").fetchone()
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    columns = tuple(row[1] for row in connection.execute(f"PRAGMA table_info({TABLE})"))
    if schema != (SCHEMA,) or not tables >= READ or columns != COLUMNS:
        return False
    # no device of an earlier release waits for its typed row
    counted = "SELECT (SELECT count(*) FROM registry) >= (SELECT count(*) FROM devices)"
    return bool(connection.execute(counted).fetchone()[0])


class SqliteReader:
    """Implements `aggregator.store.protocol.ReadableStore`. Raises StoreError when the database refuses."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.registry = _Registry(connection)

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            self._connection.execute("BEGIN")  # one moment: SQLite's log keeps it until the end
            yield
        except sqlite3.Error as error:
            raise StoreError(f"the database refused: {error}") from error
        finally:
            self._connection.rollback()

    def rows(self, collection: Collection[Row]) -> _Rows[Row]:
        return _Rows(self._connection, collection)

    def refusals(self) -> list[RefusalRow]:
        names = ", ".join(RefusalRow.__dataclass_fields__)
        rows = self._connection.execute(f"SELECT {names} FROM refusals ORDER BY device, reason")  # noqa: S608 our names
        return [RefusalRow(*row) for row in rows]


class _Registry:
    """Implements `aggregator.store.registry_row.ReadableRegistry`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, device: str) -> RegistryRow | None:
        statement = Statement(DIALECT, 0.0)
        row = self._ask(statement, statement.get(device)).fetchone()
        return None if row is None else RegistryRow(*row)

    def find(self, query: RegistryQuery, now_s: float) -> list[RegistryRow]:
        statement = Statement(DIALECT, now_s)
        return [RegistryRow(*row) for row in self._ask(statement, statement.find(query))]

    def table(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Sequence[Values]:
        statement = Statement(DIALECT, now_s)
        return self._ask(statement, statement.find(query, names)).fetchall()

    def objects(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Iterator[Values]:
        statement = Statement(DIALECT, now_s)
        parts, template = sqlite_parts(names)
        rows = self._ask(statement, statement.find(query, (*parts, query.column, "device")))
        return ((ascii_json(template % row[:-2]), row[-2], row[-1]) for row in rows)

    def columns(self, names: Sequence[str], condition: Condition | None = None, now_s: float = 0.0) -> list[Values]:
        statement = Statement(DIALECT, now_s)
        return self._ask(statement, statement.columns(names, condition)).fetchall()

    def count(self, condition: Condition | None, now_s: float) -> int:
        statement = Statement(DIALECT, now_s)
        return int(self._ask(statement, statement.count(condition)).fetchone()[0])

    def _ask(self, statement: Statement, sql: str) -> sqlite3.Cursor:
        return self._connection.execute(sql, statement.values)


class _Rows(Generic[Row]):
    """Implements `aggregator.store.collection.ReadableRows`."""

    def __init__(self, connection: sqlite3.Connection, collection: Collection[Row]) -> None:
        self._connection, self._collection = connection, collection
        self._flags = [place for place, kind in enumerate(collection.columns().values()) if kind is bool]

    def get(self, *key: Value) -> Row | None:
        return next(iter(self.all(*key)), None)

    def all(self, *leading: Value, after: tuple[Value, ...] = (), count_max: int | None = None) -> list[Row]:
        key = self._collection.key
        wanted = [f"{name} = ?" for name in key[: len(leading)]]
        if after:
            wanted.append(f"({', '.join(key)}) > ({', '.join('?' * len(after))})")
        return self._found(wanted, [*leading, *after], -1 if count_max is None else count_max)

    def among(self, first: Sequence[Value], least: Value | None = None) -> list[Row]:
        key, found = self._collection.key, []
        for begin in range(0, len(first), NAMES_AT_ONCE):
            some = first[begin : begin + NAMES_AT_ONCE]
            wanted = [f"{key[0]} IN ({', '.join('?' * len(some))})", *([] if least is None else [f"{key[1]} >= ?"])]
            found += self._found(wanted, [*some, *([] if least is None else [least])], -1)
        return sorted(found, key=self._collection.key_of)

    def where(self, **equal: Value) -> list[Row]:
        return self._found([f"{name} = ?" for name in equal], list(equal.values()), -1)

    def _found(self, wanted: Sequence[str], values: Sequence[Value], count_max: int) -> list[Row]:
        names, key = ", ".join(self._collection.columns()), ", ".join(self._collection.key)
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        sql = f"SELECT {names} FROM {self._collection.name} {where} ORDER BY {key} LIMIT ?"  # noqa: S608 names of fields
        rows = self._connection.execute(sql, [*values, count_max])
        return [*map(self._row, rows)] if self._flags else [*starmap(self._collection.row, rows)]

    def _row(self, values: tuple[Any, ...]) -> Row:
        given = list(values)
        for place in self._flags:
            given[place] = bool(given[place])
        return self._collection.row(*given)
