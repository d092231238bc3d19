"""The stores that a test runs on: in memory, in a file of SQLite, on a PostgreSQL that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.store import MemoryStore, Store
from aggregator.store.sql import SqlStore


def opened_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The body of a fixture whose parameter is ``memory``, ``sqlite`` or ``postgresql``."""
    if request.param == "memory":
        yield MemoryStore()
    elif request.param == "postgresql":
        yield request.getfixturevalue("postgresql_store")
    else:
        database = SqlStore(f"sqlite:///{tmp_path / 'store.sqlite'}")
        yield database
        database.close()
