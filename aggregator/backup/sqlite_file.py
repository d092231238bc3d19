"""The store's SQLite file as a file: copied while the service writes to it, closed to one file, looked into."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from aggregator.store import address_of
from headway.errors import ConfigError, StoreError
from headway.printable import printable

BUSY_TIMEOUT_S = 10.0
MAGIC = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")


def file_of(url: str) -> Path:
    """The file of a store, which need not exist. Raises ConfigError when the store is no file of SQLite."""
    address = address_of(url)
    if address.get_backend_name() != "sqlite" or not address.database or address.database == ":memory:":
        raise ConfigError(
            f"the store is {address.get_backend_name()}, which has tools of its own for this: pg_dump and "
            "pg_restore (docs/howto/backup.md)"
        )
    return Path(address.database)


def copy_database(database: Path, target: Path) -> int:
    """Copy a database as it is between two transactions, by SQLite's online backup; returns its schema.

    Who writes meanwhile is not held up. Raises StoreError, also when the database is damaged.
    """
    with _refused(database), closing(_open(database)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)  # all pages at once: one state, however much is written meanwhile
        copy.execute("PRAGMA journal_mode = DELETE")
        # as bytes: what is said of a damaged database may quote its own
        (said,) = copy.execute("SELECT CAST(integrity_check AS BLOB) FROM pragma_integrity_check(1)").fetchone()
        if said != b"ok":
            problem = printable(said.decode(errors="replace"))
            raise StoreError(f"the store {database} is damaged, so no backup was made of it: {problem}")
        row = copy.execute("SELECT value FROM numbers WHERE name = 'schema'").fetchone()
        if row is None:
            raise StoreError(f"{database} is no store of an aggregator; give --state-dir or --config")
        return int(row[0])


def close_database(database: Path) -> str:
    """Take what lies beside a database into it, so that it is one file; why that cannot be done, or ''.

    Raises StoreError while another program has it open.
    """
    with database.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            # opened as a database, what lies beside it would be taken away
            return "it is no database"
    try:
        with closing(_open(database, 1.0)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        if error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(
                f"another program has {database} open; stop every edge-fleet first (serve, join-server, api)"
            ) from error
        return str(error)
    return ""


def _open(database: Path, timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    # an open that makes no file: a mistyped place is an error
    uri = f"{database.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None)


@contextmanager
def _refused(database: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # what SQLite says of damage may itself be damaged text
        raise StoreError(f"cannot copy the store {database}: {error}") from error
