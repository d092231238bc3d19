"""Stores for tests: in memory and in a file, and a database that many share, as to make one takes half a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from aggregator.store.schema import metadata
from aggregator.store.sql import SqlStore
from testbed.postgresql import Postgresql


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
    else:
        database = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
        yield database
        database.close()


@pytest.fixture(scope="session")
def made_database(postgresql: Postgresql) -> str:
    """The URL of a database that has its tables."""
    url = postgresql.new_database()
    SqlStore(url).close()
    return url


@pytest.fixture
def postgresql_store(made_database: str) -> Iterator[SqlStore]:
    """A store on PostgreSQL with nothing in it, whatever the test before left behind."""
    engine = create_engine(made_database)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    engine.dispose()
    store = SqlStore(made_database)
    yield store
    store.close()
