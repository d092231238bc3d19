"""Stores what the device must not lose, in one SQLite file: a sample is learned, counted and queued in one transaction.

WAL with synchronous=FULL: when `commit` returns, a power cut cannot take it back.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from headway.errors import LaterVersionError, StoreError

SCHEMA_VERSION, TAIL_VERSION, SUMS_VERSION = 5, 4, 5
# what brings the schema from version i to i + 1; never edit one that has shipped
MIGRATIONS = (
    """
CREATE TABLE state (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (sequence INTEGER PRIMARY KEY, payload BLOB NOT NULL);
""",
    """
CREATE TABLE windows (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, payload BLOB NOT NULL);
""",
    # large values do not belong into an index tree, which is what a table without row numbers is
    """
CREATE TABLE journal (number INTEGER PRIMARY KEY, payload BLOB NOT NULL);
ALTER TABLE state RENAME TO state_before;
CREATE TABLE state (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value BLOB NOT NULL);
INSERT INTO state (name, value) SELECT name, value FROM state_before;
DROP TABLE state_before;
""",
    # entries up to this one are part of the checkpoint; the newest of them are kept, see `Store.tail`
    """
CREATE TABLE checkpoint (covered INTEGER NOT NULL);
INSERT INTO checkpoint VALUES (0);
""",
    # CRC-32 of the value; none beside what was saved before
    """
ALTER TABLE state ADD COLUMN check_sum INTEGER;
""",
)
CACHE_KIBIBYTES = 256
# of entries that are part of the checkpoint
TAIL_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message kept until the aggregator acknowledges its sequence number."""

    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Changes:
    """One transaction. `state` replaces named values, those `dropped` go; outbox rows up to `acknowledged` are deleted.

    journal: entries to append; checkpoint: `state` covers every entry before these.
    windows: remembered windows to save, by id; forgotten: ids to drop.
    """

    state: dict[str, bytes]
    outbox: tuple[OutboxRow, ...] = ()
    acknowledged: int | None = None
    windows: dict[str, bytes] = field(default_factory=dict)
    forgotten: tuple[str, ...] = ()
    journal: tuple[bytes, ...] = ()
    checkpoint: bool = False
    dropped: tuple[str, ...] = ()

    def then(self, later: Changes) -> Changes:
        """Both, one after the other, as one transaction."""
        state = {name: value for name, value in self.state.items() if name not in later.dropped}
        windows = {name: value for name, value in self.windows.items() if name not in later.forgotten}
        deleted = max(self.acknowledged or 0, later.acknowledged or 0)
        return Changes(
            state | later.state,
            (*(row for row in self.outbox if row.sequence > (later.acknowledged or 0)), *later.outbox),
            deleted or None,
            windows | later.windows,
            # windows are deleted before others are saved, so one that moved to the end may be in both
            (*self.forgotten, *later.forgotten),
            later.journal if later.checkpoint else self.journal + later.journal,
            self.checkpoint or later.checkpoint,
            (*(name for name in self.dropped if name not in later.state), *later.dropped),
        )


class Condition(StrEnum):
    """Why a store refuses."""

    FULL = "full"
    READ_ONLY = "read-only"
    DAMAGED = "damaged"
    FAILING = "failing"


ADVICE = {
    Condition.FULL: "the disk is full; free some space",
    Condition.READ_ONLY: "the disk or the file cannot be written; check the mount and permissions",
    Condition.DAMAGED: "the database is damaged",
    Condition.FAILING: "the disk fails; check its cable, its card and the kernel's log",
}
# SQLite's primary result codes
CONDITIONS = {
    sqlite3.SQLITE_FULL: Condition.FULL,
    sqlite3.SQLITE_READONLY: Condition.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: Condition.READ_ONLY,
    sqlite3.SQLITE_PERM: Condition.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Condition.DAMAGED,
    sqlite3.SQLITE_NOTADB: Condition.DAMAGED,
    # a table is missing, or not ours
    sqlite3.SQLITE_ERROR: Condition.DAMAGED,
}


class StoreFailure(StoreError):
    """The store refused; `condition` says in which way."""

    def __init__(self, condition: Condition, problem: str) -> None:
        super().__init__(problem)
        self.condition = condition


class Store(Protocol):
    """Where the agent keeps its state; SQLite on a device, memory in a replay."""

    def load(self) -> dict[str, bytes]:
        """Every named value of the last commit; empty on a new device."""
        ...

    def journal(self) -> list[bytes]:
        """Entries since the last checkpoint, oldest first."""
        ...

    def tail(self) -> list[bytes]:
        """The newest entries before the last checkpoint, at most TAIL_BYTES_MAX and one more, oldest first."""
        ...

    def outbox(self, after: int, rows_max: int) -> list[OutboxRow]:
        """Unacknowledged rows with a sequence above `after`, oldest first."""
        ...

    def outbox_size(self) -> tuple[int, int]:
        """Rows and payload bytes that wait for an acknowledgement."""
        ...

    def windows(self) -> list[tuple[str, bytes]]:
        """Remembered windows, the first saved first."""
        ...

    def commit(self, changes: Changes) -> None:
        """Make the changes durable, all or none. Raises StoreError."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class SQLiteStore:
    """The device's store."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        with self._errors_named():
            if read_only:
                self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
            else:
                self._connection = sqlite3.connect(path, isolation_level=None)
                with contextlib.ExitStack() as unprepared:
                    unprepared.callback(self._connection.close)
                    self._prepare()
                    unprepared.pop_all()
        self._file = _identity(path)

    def load(self) -> dict[str, bytes]:
        with self._errors_named():
            return self._values()

    def journal(self) -> list[bytes]:
        with self._errors_named():
            return self._entries("SELECT payload FROM journal WHERE number > ? ORDER BY number")

    def tail(self) -> list[bytes]:
        with self._errors_named():
            return self._entries("SELECT payload FROM journal WHERE number <= ? ORDER BY number")

    def outbox(self, after: int, rows_max: int) -> list[OutboxRow]:
        query = "SELECT sequence, payload FROM outbox WHERE sequence > ? ORDER BY sequence LIMIT ?"
        with self._errors_named():
            return [OutboxRow(*row) for row in self._connection.execute(query, (after, rows_max))]

    def outbox_size(self) -> tuple[int, int]:
        with self._errors_named():
            rows, size = self._connection.execute(
                "SELECT count(*), coalesce(sum(length(payload)), 0) FROM outbox"
            ).fetchone()
        return int(rows), int(size)

    def commit(self, changes: Changes) -> None:
        if _identity(self._path) != self._file:
            # SQLite would go on writing to the file that has lost its name, and nobody would ever read it
            problem = f"{self._path} was deleted or replaced while the agent used it"
            raise StoreFailure(Condition.DAMAGED, f"{problem}: {ADVICE[Condition.DAMAGED]}")
        with self._errors_named(), self._transaction() as run:
            run.executemany(
                "INSERT INTO state (name, value, check_sum) VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value, check_sum = excluded.check_sum",
                [(name, value, zlib.crc32(value)) for name, value in changes.state.items()],
            )
            run.executemany("DELETE FROM state WHERE name = ?", [(name,) for name in changes.dropped])
            if changes.checkpoint:
                run.execute("UPDATE checkpoint SET covered = (SELECT coalesce(max(number), 0) FROM journal)")
                # the newest one stays whatever its length: the numbers of new ones go on from it
                run.execute(
                    "DELETE FROM journal WHERE number < (SELECT min(number) FROM (SELECT number, "
                    "sum(length(payload)) OVER (ORDER BY number DESC) - length(payload) AS newer FROM journal) "
                    "WHERE newer < ?)",
                    (TAIL_BYTES_MAX,),
                )
            run.executemany("INSERT INTO journal (payload) VALUES (?)", [(entry,) for entry in changes.journal])
            if changes.acknowledged is not None:
                run.execute("DELETE FROM outbox WHERE sequence <= ?", (changes.acknowledged,))
            run.executemany("INSERT INTO outbox VALUES (?, ?)", [(r.sequence, r.payload) for r in changes.outbox])
            run.executemany("DELETE FROM windows WHERE id = ?", [(window_id,) for window_id in changes.forgotten])
            run.executemany(
                "INSERT INTO windows (id, payload) VALUES (?, ?) "
                "ON CONFLICT (id) DO UPDATE SET payload = excluded.payload",
                changes.windows.items(),
            )

    def windows(self) -> list[tuple[str, bytes]]:
        with self._errors_named():
            return list(self._connection.execute("SELECT id, payload FROM windows ORDER BY number"))

    def close(self) -> None:
        self._connection.close()

    def _version(self) -> int:
        """Of the schema; a database that is only read may be of an older agent."""
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _values(self) -> dict[str, bytes]:
        query = "name, value, check_sum" if self._version() >= SUMS_VERSION else "name, value, NULL"
        values: dict[str, bytes] = {}
        for name, value, check_sum in self._connection.execute(f"SELECT {query} FROM state"):  # noqa: S608
            if not isinstance(value, bytes) or (check_sum is not None and zlib.crc32(value) != check_sum):
                problem = f"{self._path}: saved {name} does not fit its check sum: {ADVICE[Condition.DAMAGED]}"
                raise StoreFailure(Condition.DAMAGED, problem)
            values[name] = value
        return values

    def _entries(self, query: str) -> list[bytes]:
        """query: takes the number of the last entry that the checkpoint covers."""
        run, version = self._connection, self._version()
        covered = run.execute("SELECT covered FROM checkpoint").fetchone()[0] if version >= TAIL_VERSION else 0
        return [row[0] for row in run.execute(query, (covered,))]

    def check(self) -> None:
        """Look at every page. Raises StoreFailure when the file is damaged."""
        with self._errors_named():
            found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            found = " ".join(found.split())  # it comes in lines
            raise StoreFailure(Condition.DAMAGED, f"{self._path}: {found}: {ADVICE[Condition.DAMAGED]}")

    def _prepare(self) -> None:
        run = self._connection
        run.execute("PRAGMA journal_mode=WAL")
        run.execute("PRAGMA synchronous=FULL")
        run.execute("PRAGMA busy_timeout=5000")
        # its own 2 MB fill up over days with pages that nobody reads again: what is saved is held by the learner, too
        run.execute(f"PRAGMA cache_size=-{CACHE_KIBIBYTES}")
        found = self._version()
        if found > SCHEMA_VERSION:
            known = f"this agent knows {SCHEMA_VERSION}"
            raise LaterVersionError(f"{self._path} has schema {found}, {known}; upgrade the agent")
        for version in range(found, SCHEMA_VERSION):
            run.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[version]} PRAGMA user_version={version + 1}; COMMIT;")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            # a COMMIT that failed, on a full disk say, leaves the transaction open
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:
            # SQLite quotes what it found on the disk, and Python's module cannot even read that
            words = f"{self._path}: its schema is no text: {ADVICE[Condition.DAMAGED]}"
            raise StoreFailure(Condition.DAMAGED, words) from error
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            condition = CONDITIONS.get((code or 0) & 0xFF, Condition.FAILING)
            if code is None and isinstance(error, sqlite3.OperationalError):
                # not SQLite's own: Python could not read a text that SQLite gave it
                condition = Condition.DAMAGED
            raise StoreFailure(condition, f"{self._path}: {error}: {ADVICE[condition]}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this name means now; None when it means none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
