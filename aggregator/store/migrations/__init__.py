"""Brings a database of an earlier release to the present schema, by Alembic: revision n is schema n.

The number `schema` in the store says how far a database is, so a new one, and one that is up to date, need no Alembic.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy import Connection, Table, create_mock_engine, insert, inspect, select, update
from sqlalchemy.schema import ExecutableDDLElement

from aggregator.store import schema
from headway.errors import StoreError


def open_schema(connection: Connection) -> None:
    """Make the tables, or bring those of an earlier release up to date, in the transaction that is open.

    Raises StoreError for a database of a later release.
    """
    name = schema.numbers.c.name
    there, known = _found(connection)
    if known is not None and known > schema.SCHEMA:
        raise StoreError(f"the database has schema {known}; this program reads {schema.SCHEMA}")
    if known is not None and known < schema.SCHEMA:
        upgrade(connection, known)
        connection.execute(update(schema.numbers).where(name == "schema").values(value=schema.SCHEMA))
        there = set(inspect(connection).get_table_names())
    _make_tables(connection, there)
    if known is None:
        connection.execute(insert(schema.numbers).values(name="schema", value=schema.SCHEMA))


def has_schema(connection: Connection) -> bool:
    """Whether `open_schema` has nothing to do; in a transaction that only reads."""
    there, known = _found(connection)
    return known == schema.SCHEMA and there >= schema.metadata.tables.keys()


def _found(connection: Connection) -> tuple[set[str], int | None]:
    """The tables that are there, and the schema that they are of; None for a new database."""
    name, value = schema.numbers.c.name, schema.numbers.c.value
    there = set(inspect(connection).get_table_names())
    return there, connection.execute(select(value).where(name == "schema")).scalar() if "numbers" in there else None


def _make_tables(connection: Connection, there: set[str]) -> None:
    """Those that are missing. What is there was asked once, where `create_all` asks for each of seventy, and a process
    that opens several databases words the statements once."""
    for table in schema.metadata.sorted_tables:
        if table.name not in there:
            for statement in _statements(table, connection):
                connection.exec_driver_sql(statement)


def _statements(table: Table, connection: Connection) -> list[str]:
    key = table.name, connection.dialect.name
    if key not in _WORDED:
        worded: list[str] = []

        def word(statement: ExecutableDDLElement, *_: object, **__: object) -> None:
            worded.append(str(statement.compile(dialect=connection.dialect)))

        schema.metadata.create_all(create_mock_engine(connection.engine.url, word), [table], checkfirst=False)
        _WORDED[key] = worded
    return _WORDED[key]


_WORDED: dict[tuple[str, str], list[str]] = {}


def upgrade(connection: Connection, known: int) -> None:
    """Run what is missing after schema `known`, in the transaction that is open: all of it holds, or nothing."""
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.stamp(config, str(known), purge=True)
    command.upgrade(config, "head")
