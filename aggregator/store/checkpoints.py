"""Moves what SQLite's log holds into the database file (a checkpoint) while nobody waits for it.

A transaction is durable once it is in the log. By default SQLite moves the log's pages within the very commit that
makes them a thousand: milliseconds of a processor and two writes to the disk, for which the acks of that transaction
wait, or the head of a round. The service does it after its answers have left: as soon as nothing else waits, or, while
messages keep coming, in larger portions. Both are larger than SQLite's, so that a page which changes in every
transaction is moved less often. A commit, of whatever program, does it only beyond `engine.COMMIT_PAGES`: so the log
stays bounded whatever becomes of the service. While somebody reads an older moment (a backup, say), what is written
meanwhile stays in the log, whoever moves it, and its file is cut again once that is over.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from aggregator.store.engine import reason_of
from headway.errors import StoreError

# pages of the log from which on it is moved: where nothing waits, while messages wait
IDLE_PAGES, BUSY_PAGES = 3000, 5000
# the log's format (sqlite.org/fileformat2.html, "The Write-Ahead Log"): where its header has the size of a page, and
# two numbers that the header of each page repeats which was written since the log was begun anew
HEADER_BYTES, PAGE_HEADER_BYTES = 32, 24
PAGE_SIZE, SALTS, SALTS_OF_PAGE = slice(8, 12), slice(16, 24), 8


class Checkpoints:
    """Of the one process that serves a database. connection: to it, in a transaction."""

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._engine = engine
        self._log: Path | None = None
        # which beginning of the log is looked after, and how many of its pages were
        self._salts, self._done = b"", 0
        if engine.dialect.name == "sqlite":
            path = next(row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main")
            self._log = Path(f"{path}-wal") if path else None  # none in memory

    def take(self, idle: bool) -> None:
        """Between transactions: move the log's pages if they are many. idle: no message waits.

        A reader of an older moment may hold back some or all of them, which are then moved with later ones. Raises
        StoreError when the disk refuses; all stays durable, and later calls try again.
        """
        if self._log is None:
            return
        pages = IDLE_PAGES if idle else BUSY_PAGES
        try:
            with self._log.open("rb", buffering=0) as log:
                header = log.read(HEADER_BYTES)
                salts = header[SALTS]
                done = self._done if salts == self._salts else 0
                stride = PAGE_HEADER_BYTES + int.from_bytes(header[PAGE_SIZE])
                log.seek(HEADER_BYTES + (done + pages - 1) * stride + SALTS_OF_PAGE)
                if not salts or log.read(len(salts)) != salts:
                    return
        except FileNotFoundError:
            return  # nothing was written yet
        except OSError as error:
            raise StoreError(f"cannot read {self._log}: {error.strerror or error}") from error
        self._salts, self._done = salts, done + pages  # also if it fails: not again at once
        self._done = max(self._done, self._move())

    def _move(self) -> int:
        """Pages in the log."""
        try:
            with closing(self._engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")
                return int(cursor.fetchall()[0][1])
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(f"the database's log cannot be moved into it: {reason_of(error)}") from error
