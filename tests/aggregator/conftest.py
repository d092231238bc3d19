"""The stores of the tests here; a database that they share, one after the other: to make one takes half a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from aggregator.store import Store
from aggregator.store.schema import metadata
from aggregator.store.sql import SqlStore
from testbed.postgresql import Postgresql
from tests.aggregator.stores import opened_store


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


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """For what must hold on either; a test that needs more kinds has a fixture of its own by this name."""
    yield from opened_store(request, tmp_path)
