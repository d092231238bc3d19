"""What every part of the aggregator's store on SQL needs: the database, its transactions, and collections of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    and_,
    bindparam,
    func,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.expression import Executable

from aggregator.store import schema
from aggregator.store.address import address_of, shown
from aggregator.store.collection import Collection, Row, Rows
from aggregator.store.engine import READING, open_engine, reason_of, size_bytes
from aggregator.store.held_rows import HeldRows
from aggregator.store.looked_up import LookedUp
from aggregator.store.many_keys import ManyKeys
from aggregator.store.migrations import has_schema, open_schema
from aggregator.store.prepared import Prepared
from aggregator.store.registry_table import SqlRegistry, registry_table
from aggregator.store.rows import EVERY
from aggregator.store.sql_rows import Access, SqlRows, table_of
from aggregator.store.stored import StoredStatistics
from headway.errors import LocalError, StoreError

# tables of the collections, by name
COLLECTIONS = {collection.name: table_of(collection, schema.metadata) for collection in EVERY}
REGISTRY = registry_table(schema.metadata)
STATISTICS_COLUMNS = tuple(StoredStatistics.__dataclass_fields__)
STATISTICS_VALUES = attrgetter(*STATISTICS_COLUMNS)
NUMBER = select(schema.numbers.c.value).where(schema.numbers.c.name == bindparam("name"))


class SqlTables:
    """An open database. One connection; use it from one thread.

    url: an SQLAlchemy URL such as ``sqlite:////var/lib/headway-aggregator/aggregator.sqlite``.
    Raises ConfigError for what is no URL, StoreError when the database cannot be opened or has another schema.
    """

    def __init__(self, url: str) -> None:
        self._active: Connection | None = None
        self._access = Access(self._run, self._rows, self._change, self._put_many)
        self._collections: dict[str, SqlRows[Any]] = {}
        self._prepared: dict[Executable, Prepared] = {}
        # of many devices or epochs: made once, for this kind of database
        self._together: dict[str, Executable] = {}
        self._looked_up = LookedUp()
        # statistics that were asked for or put in this transaction, and the bytes of all of them
        self._asked: dict[tuple[str, int], StoredStatistics] = {}
        self._asked_bytes = 0
        # statistics that were put and are not written yet, as they are asked for; other rows are in `_held`
        self._unwritten: dict[tuple[str, int], StoredStatistics] = {}
        self._unwritten_bytes = 0
        # of this transaction, too
        self._numbers: dict[str, int] = {}
        try:
            with ExitStack() as unopened:
                self._engine = open_engine(url)
                unopened.callback(self._engine.dispose)
                self._held, self._many = HeldRows(self._engine.dialect.name), ManyKeys(self._engine.dialect.name)
                self._driver_error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
                self.registry = SqlRegistry(
                    self._run,
                    self._rows,
                    self._put_many,
                    self._change_many,
                    self._looked_up,
                    REGISTRY,
                    self._engine.dialect.name,
                )
                # whoever finds its tables made waits for nobody: the service may be in a long transaction
                with self.reading():
                    present = has_schema(self._connection())
                if not present:
                    with self.transaction():
                        open_schema(self._connection())
                unopened.pop_all()
        except (SQLAlchemyError, ImportError) as error:
            raise StoreError(f"cannot open the database {shown(address_of(url))}: {reason_of(error)}") from error

    def close(self) -> None:
        """Release the database."""
        self._engine.dispose()

    def transaction(self) -> AbstractContextManager[None]:
        return self._begun(self._writing())

    def reading(self) -> AbstractContextManager[None]:
        return self._begun(self._engine.execution_options(**{READING: True}))

    def _writing(self) -> Engine:
        """What begins a transaction that writes."""
        return self._engine

    @contextmanager
    def _begun(self, engine: Engine) -> Iterator[None]:
        if self._active is not None:
            raise LocalError("transactions of the aggregator's store do not nest")
        try:
            with engine.begin() as connection:
                self._active = connection
                yield
                self._write_out()
        except (SQLAlchemyError, self._driver_error) as error:
            raise StoreError(f"the database refused: {reason_of(error)}") from error
        finally:
            self._active = None
            # of a transaction that failed
            self._unwritten.clear()
            self._unwritten_bytes = 0
            self._held.drop()
            self._forget_looked_up()

    def checkpoint(self, idle: bool) -> None:
        pass  # a command's part is done by the service, or when the last program closes the database

    def rows(self, collection: Collection[Row]) -> Rows[Row]:
        known = self._collections.get(collection.name)
        if known is None:
            known = self._collections[collection.name] = SqlRows(self._access, COLLECTIONS[collection.name], collection)
        return known

    def size_bytes(self) -> int:
        return size_bytes(self._run, self._engine.dialect.name)

    def number(self, name: str) -> int:
        known = self._numbers.get(name)
        if known is None:
            found = self._rows(NUMBER, ("name",), (name,), schema.numbers)
            known = self._numbers[name] = int(found[0][0]) if found else 0
        return known

    def put_number(self, name: str, value: int) -> None:
        self._numbers.pop(name, None)
        self._put_many(schema.numbers, ("name", "value"), [(name, value)])

    def _put(self, table: Table, values: dict[str, Any]) -> None:
        self._put_many(table, tuple(values), [tuple(values.values())])

    def _count(self, table: Table, condition: ColumnElement[bool] | None = None) -> int:
        query = select(func.count()).select_from(table)
        return int(self._value(query if condition is None else query.where(condition)))

    def _value(self, statement: Any) -> Any:
        return self._run(statement).scalar()

    def _rows(
        self, statement: Executable, names: Sequence[str], values: tuple[Any, ...], table: Table | None = None
    ) -> list[tuple[Any, ...]]:
        """What a statement selects that is made once; `names` are those of its values. table: the one it asks, where
        it is one: what was put into others may wait."""
        self._write_out(table)
        return self._ready(statement, names).rows(self._connection(), values)

    def _each(self, statement: Executable, names: Sequence[str], values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """The same of large rows, one by one."""
        self._write_out()
        return self._ready(statement, names).each(self._connection(), values)

    def _change(
        self, statement: Executable, names: Sequence[str], values: tuple[Any, ...], table: Table | None = None
    ) -> int:
        """How many rows a statement has changed that is made once. table: as of `_rows`."""
        self._write_out(table)
        return int(self._ready(statement, names).run(self._connection(), values).rowcount)

    def _ready(self, statement: Executable, names: Sequence[str]) -> Prepared:
        known = self._prepared.get(statement)
        if known is None:
            known = self._prepared[statement] = Prepared(statement, names, self._engine.dialect)
        return known

    def _put_many(self, table: Table, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        """Insert, or replace by primary key, before anything else is asked of the table; of each key the last row
        counts. rows: values in the order of `names`, as the driver has them."""
        if rows and self._held.put(table, names, rows):
            self._write_out(table)

    def _change_many(
        self, statement: Executable, names: Sequence[str], rows: list[tuple[Any, ...]], table: Table
    ) -> None:
        """Run a statement that is made once, and changes one table, for each of these rows of values."""
        if rows:
            self._write_out(table)
            self._ready(statement, names).run_many(self._connection(), rows)

    def _forget_looked_up(self) -> None:
        """What was looked up holds no more."""
        self._looked_up.clear()
        self._asked.clear()
        self._numbers.clear()
        self._asked_bytes = 0

    def _write_out(self, table: Table | None = None) -> None:
        """Write what was put, into one table or into all."""
        if self._unwritten and (table is None or table is schema.statistics):
            rows = [STATISTICS_VALUES(row) for row in self._unwritten.values()]
            self._unwritten.clear()
            self._unwritten_bytes = 0
            self._put_many(schema.statistics, STATISTICS_COLUMNS, rows)
        for statement, names, held in self._held.take(table):
            self._ready(statement, names).run_many(self._connection(), held)

    def _run(self, statement: Any, values: dict[str, Any] | list[dict[str, Any]] | None = None) -> Any:
        self._write_out()
        return self._connection().execute(statement, values)

    def _connection(self) -> Connection:
        if self._active is None:
            raise LocalError("the aggregator's store was used outside a transaction")
        return self._active


def of(table: Table, device: str, epoch: int) -> ColumnElement[bool]:
    return and_(table.c.device == device, table.c.epoch == epoch)


def of_epoch(table: Table) -> ColumnElement[bool]:
    """The same of a statement that is made once; its values are `its_device` and `its_epoch`."""
    return and_(table.c.device == bindparam("its_device"), table.c.epoch == bindparam("its_epoch"))
