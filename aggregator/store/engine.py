"""Opens the database: SQLite with durable transactions that begin explicitly, or another by its URL."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text

from aggregator.store.address import address_of
from aggregator.store.location import BUSY_TIMEOUT_MS
from headway.ports import Clock, SystemClock

# advisory locks of PostgreSQL, by number: who writes, who serves, and which worker writes what is of no device
TRANSACTIONS, SERVING, FLEET_ROWS = 0x4865_6164_0001, 0x4865_6164_0002, 0x4865_6164_0003

# execution option of a transaction that only reads
READING = "headway_reading"
# of one in which other workers write, too, see `aggregator.store.working`
WORKING = "headway_working"
# of one of the service: a standby looks whether it is alive (`aggregator.store.pulse`), so it may think for long
SERVED = "headway_served"
# of PostgreSQL
LOCK_NOT_AVAILABLE = "55P03"
# of SQLite, without what says more
LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
LOCKED_PAUSE_S = 0.02
# of a new database of SQLite: updates and reports of many pages each are stored and deleted page by page, so that twice
# its usual size takes a quarter off what makes a round durable, and small rows cost no more
PAGE_BYTES = 8192
# of the service's own connection, four times the usual: what a round has just stored it deletes
CACHE_KIB = 8000
# of the log from which on a commit moves it into the database: the service does so before, see `store.checkpoints`
COMMIT_PAGES = 8000
# how soon either end of a connection to PostgreSQL notices that the other is gone without a word
SILENCE_S = 6
CLIENT_NOTICES = {
    "keepalives_idle": "3", "keepalives_interval": "1", "keepalives_count": "3",
    "tcp_user_timeout": str(1000 * SILENCE_S),
}  # fmt: skip
# how long a statement waits for the locks of others: less than systemd's watchdog, so that a line says what it was
LOCKS_S = 100
# how long a worker, or a command, may keep everybody waiting between two statements of one transaction
STILL_S = 30
# of a session, as its server keeps them; a server of before PostgreSQL 12 knows no tcp_user_timeout
SERVER_NOTICES = {
    # the peer of a connection on which nothing is under way is asked whether it is there
    "tcp_keepalives_idle": "3", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "3",
    # but not that of one which owes an answer: else what it locks stays locked for a quarter of an hour
    "tcp_user_timeout": str(1000 * SILENCE_S),
    "lock_timeout": f"{LOCKS_S}s",
}  # fmt: skip
# what PostgreSQL calls every session of this process: who looks at one finds the others
PROCESS = f"headway-{secrets.token_hex(8)}"
NOTICE = "SELECT " + ", ".join(
    f"CASE WHEN current_setting('{name}', true) IS NOT NULL THEN set_config('{name}', '{value}', false) END"
    for name, value in SERVER_NOTICES.items()
)
NOT_STILL = f"set_config('idle_in_transaction_session_timeout', '{STILL_S}s', true)"


def open_engine(url: str) -> Engine:
    """The database of an SQLAlchemy URL; SQLite so that what a transaction wrote is durable when it ended. Raises
    ConfigError for what is no such URL.

    Transactions with the option `READING` see one moment, hold up no writer, and can write nothing.
    """
    address = address_of(url)
    if address.drivername in ("postgresql", "postgres"):
        address = address.set(drivername="postgresql+psycopg")  # which SQLAlchemy before 2.1 does not mean by it
    if address.get_backend_name() == "postgresql":
        address = address.update_query_dict({**CLIENT_NOTICES, **address.query, "application_name": PROCESS})
    engine = create_engine(address)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _notice_silence)
        event.listen(engine, "begin", _begin_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    # the driver's own transaction handling commits behind our back; we begin explicitly instead
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    _use_the_log(connection, SystemClock())
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {COMMIT_PAGES}")
    # what it grew beyond that while somebody read an older moment is given back once it is begun anew
    connection.execute(f"PRAGMA journal_size_limit = {COMMIT_PAGES * PAGE_BYTES}")


def hold_more_pages(connection: Connection) -> None:
    """For the connection of a service, whatever the database: a command has no use for it."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size = -{CACHE_KIB}")


def _use_the_log(connection: Any, clock: Clock) -> None:
    """Write-ahead logging. The first program to open a database switches it on, and those that start meanwhile are
    refused at once, whatever the busy timeout: they try again for as long as it lasts."""
    deadline_s = clock.monotonic_s() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in LOCKED or clock.monotonic_s() >= deadline_s:
                raise
            time.sleep(LOCKED_PAUSE_S)


def _notice_silence(connection: Any, _: object) -> None:
    # else the locks of a machine that is cut off would be held for hours; a Unix socket has no such settings
    with connection.cursor() as cursor:
        cursor.execute(NOTICE)
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    # by the driver: SQLAlchemy takes longer to hand a statement on than SQLite to begin
    cursor = connection.connection.cursor()
    try:
        if connection.get_execution_options().get(READING):
            # with write-ahead logging a reader sees the moment of its first statement, and nobody waits for it
            cursor.execute("PRAGMA query_only = ON")
            cursor.execute("BEGIN")
            return
        cursor.execute("PRAGMA query_only = OFF")
        # taking the write lock at once means that a transaction cannot fail half-way for want of it
        cursor.execute("BEGIN IMMEDIATE")
    finally:
        cursor.close()


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get(READING):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return
    # one transaction after the other, as with SQLite: none fails half-way, and each sees all that went before it
    shared = "_shared" if connection.get_execution_options().get(WORKING) else ""
    bound = "" if connection.get_execution_options().get(SERVED) else f", {NOT_STILL}"
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock{shared}({TRANSACTIONS}){bound}")


def size_bytes(run: Callable[[Any], Any], dialect: str) -> int:
    """Bytes of the database; of SQLite without what still waits in its log."""
    if dialect == "sqlite":
        pages, page_bytes = (int(run(text(f"PRAGMA {name}")).scalar()) for name in ("page_count", "page_size"))
        return pages * page_bytes
    return int(run(text("SELECT pg_database_size(current_database())")).scalar())


def reason_of(error: Exception) -> str:
    """What the database said, on one line."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode & 0xFF in LOCKED:
        seconds = BUSY_TIMEOUT_MS // 1000
        return f"another program has kept it locked for {seconds} s ({cause}); look which one hangs, then start again"
    if getattr(cause, "sqlstate", "") == LOCK_NOT_AVAILABLE:
        return f"others have kept it locked for {LOCKS_S} s ({_line(cause)}); pg_locks of PostgreSQL tells who does"
    return _line(cause)


def _line(cause: BaseException) -> str:
    return " ".join(str(cause).split())[:200]
