"""Databases of earlier releases open with all that they hold, whatever happens while they are brought up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text

from aggregator.rollouts import default_plan
from aggregator.store import StoredStatistics, migrations, schema
from aggregator.store.collection import Collection
from aggregator.store.rows import (
    DEVICE_COMMANDS,
    ORDER_MODES,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    SENT_SETTINGS,
    SETTINGS_PENDING,
    SETTINGS_STATES,
    TRIALS,
    WANTED_SETTINGS,
    CommandRow,
    DeviceSinceRow,
    OrderModeRow,
    RolloutDeviceRow,
    RolloutRow,
    SentSettingsRow,
    SettingsStateRow,
    TrialRow,
    WantedSettingsRow,
)
from aggregator.store.sql import SqlStore
from headway.errors import StoreError
from testbed.postgresql import Postgresql

# how each schema differs from the one after it
BACK = {
    5: ("ALTER TABLE statistics RENAME COLUMN counts TO added",),
    4: (
        "DROP INDEX IF EXISTS ix_statistics_summaries",
        "ALTER TABLE statistics DROP COLUMN samples",
        "ALTER TABLE statistics DROP COLUMN added",
    ),
    3: ("ALTER TABLE sequences DROP COLUMN history",),
    2: ("ALTER TABLE sequences DROP COLUMN life",),
}
ROW = StoredStatistics("a", 1, 2, "s", b"\0tables")
# what operators have asked for, and devices have said of it
PLAN = default_plan().encode()
ASKED: Sequence[tuple[Collection[Any], Any]] = (
    (DEVICE_COMMANDS, CommandRow("a", "c1", 1, "label", '{"window":"w"}', "ada", 1.0, 2.0, "sent", "{}", 1.5)),
    (
        ROLLOUTS,
        RolloutRow("two", 1, PLAN, "5" * 64, 9, "b", "2", 2, "s", "running", 0, "trial", "begun", 1.0, 1.0, 1.0),
    ),
    (ROLLOUT_DEVICES, RolloutDeviceRow("two", "a", 0, "trying", "", 1.0)),
    (ORDER_MODES, OrderModeRow("a", "trial")),
    (TRIALS, TrialRow("a", b"report", 1.0)),
    (WANTED_SETTINGS, WantedSettingsRow("device", "a", '{"sync.interval_s":5}', 0, 1, 1.0)),
    (SENT_SETTINGS, SentSettingsRow("a", 1, '{"sync.interval_s":5}', 1.0)),
    (SETTINGS_STATES, SettingsStateRow("a", b"state", 1.0)),
    (SETTINGS_PENDING, DeviceSinceRow("a", 1.0)),
)


def earlier(url: str, known: int) -> None:
    """Make a database of an earlier schema that holds something."""
    store = SqlStore(url)
    with store.transaction():
        store.put_statistics(ROW)
        store.put_sequence("a", 1, 5)
        for collection, row in ASKED:
            store.rows(collection).put(row)
        store.put_number("schema", known)
    store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        for version in range(schema.SCHEMA, known, -1):
            for statement in BACK[version]:
                connection.execute(text(statement))
        if known == 1:
            connection.execute(text("DROP TABLE parts"))
    engine.dispose()


def check_whole(url: str) -> None:
    """It opens, holds what it held, and has the tables that this release makes."""
    store = SqlStore(url)
    with store.transaction():
        assert store.number("schema") == schema.SCHEMA
        assert store.statistics("a", 1) == ROW
        assert store.sequence("a", 1) == 5
        assert store.sequence_history("a", 1) == ""
        for collection, row in ASKED:
            assert store.rows(collection).all() == [row]
    store.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = compare_metadata(context, schema.metadata)
        # an index that SQLite alone has
        elsewhere = "alembic_version" if engine.dialect.name == "sqlite" else "ix_statistics_summaries"
        known = ("alembic_version", elsewhere)
        assert [change for change in differences if not any(name in str(change) for name in known)] == []
    engine.dispose()


@pytest.mark.parametrize("known", range(1, schema.SCHEMA + 1))
def test_an_earlier_schema_is_brought_up_to_date(tmp_path: Path, known: int) -> None:
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    earlier(url, known)
    check_whole(url)
    check_whole(url)


@pytest.mark.parametrize("known", [1, schema.SCHEMA - 1])
def test_on_postgresql_too(postgresql: Postgresql, known: int) -> None:
    url = postgresql.new_database()
    earlier(url, known)
    check_whole(url)


def broken_after(real: Callable[[Connection, int], None]) -> Callable[[Connection, int], None]:
    def upgrade(connection: Connection, known: int) -> None:
        real(connection, known)
        raise KeyboardInterrupt

    return upgrade


def test_a_migration_that_is_broken_off_leaves_the_database_as_it_was(
    tmp_path: Path, postgresql: Postgresql, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in (f"sqlite:///{tmp_path / 'store.sqlite'}", postgresql.new_database()):
        earlier(url, 1)
        with monkeypatch.context() as patched:
            patched.setattr(migrations, "upgrade", broken_after(migrations.upgrade))
            with pytest.raises(KeyboardInterrupt):
                SqlStore(url)
        engine = create_engine(url)
        with engine.connect() as connection:
            columns = {column["name"] for column in inspect(connection).get_columns("sequences")}
        engine.dispose()
        assert columns == {"device", "epoch", "sequence"}
        check_whole(url)


def test_a_newer_schema_is_refused_in_one_line_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    SqlStore(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE numbers SET value = 9 WHERE name = 'schema'")
    with pytest.raises(StoreError, match="the database has schema 9; this program reads 5"):
        SqlStore(f"sqlite:///{path}")
