"""A database that many tests share, one after the other: to make one anew takes half a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine

from aggregator.store.schema import metadata
from aggregator.store.sql import SqlStore
from testbed.postgresql import Postgresql


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
