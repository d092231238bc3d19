"""Makes sure that one process serves a database: a lock while it lives, and a number that shuts it out once another has
taken its place.

SQLite: a locked file beside the database; who comes second is refused. PostgreSQL: an advisory lock of a session, which
the server lets go when the process dies, or when its machine has been silent for SILENCE_S; who comes second stands by,
and ends the sessions of a process that stands still (`aggregator.store.pulse`).

A lock can be lost without its owner knowing: a network that parts, a session that an administrator ends. So who takes
the place raises the number `TERM`, and each transaction of `ServingStore` begins by looking at it. It fails for whoever
was shut out, before anything is written, and nothing is published that was not committed.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from aggregator.store.address import address_of, shown
from aggregator.store.checkpoints import Checkpoints
from aggregator.store.engine import READING, SERVED, SERVING, hold_more_pages, open_engine, reason_of
from aggregator.store.pulse import Onlooker, Pulse
from aggregator.store.sql import SqlStore
from headway.errors import StoreError

# in the store: how often the place was taken
TERM = "serving_term"


class ServingPlace:
    """The place of the one service of a database, from `take` to the end of the context."""

    def __init__(self, url: str) -> None:
        self._url, self._held, self._onlooker = url, ExitStack(), Onlooker()

    def __enter__(self) -> ServingPlace:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def take(self) -> bool:
        """Whether the place is ours now; False while another process has it, and may be waited for.

        Raises StoreError where waiting makes no sense, or the database refuses.
        """
        address = address_of(self._url)
        if address.get_backend_name() == "sqlite":
            if address.database and address.database != ":memory:":
                self._lock_file(Path(f"{address.database}.lock"))
            return True
        if address.get_backend_name() != "postgresql":
            return True  # of other databases nothing is known; the number in the store is left
        try:
            return self._lock_session()
        except (SQLAlchemyError, ImportError) as error:
            raise StoreError(f"cannot open the database {shown(address)}: {reason_of(error)}") from error

    def _lock_file(self, path: Path) -> None:
        try:
            lock = self._held.enter_context(path.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            database = path.with_suffix("")
            raise StoreError(f"another aggregator serves {database}; stop it or give another database_url") from error
        except OSError as error:
            raise StoreError(f"cannot lock {path}: {error.strerror or error}") from error

    def _lock_session(self) -> bool:
        with ExitStack() as opened:
            engine = open_engine(self._url)
            opened.callback(engine.dispose)
            connection: Connection = opened.enter_context(engine.connect().execution_options(**{READING: True}))

            def taken() -> bool:
                with connection.begin():
                    return bool(connection.execute(text(f"SELECT pg_try_advisory_lock({SERVING})")).scalar())

            if not taken() and not (self._onlooker.end_who_stands_still(connection) and taken()):
                return False
            # the session keeps the lock; no transaction stays open
            opened.enter_context(Pulse(connection))
            self._held.enter_context(opened.pop_all())
            return True


class ServingStore(SqlStore):
    """The database of the process that has the `ServingPlace`.

    Opening it shuts out whoever served before. Raises StoreError, also in each transaction, once another did the same.
    """

    def __init__(self, url: str) -> None:
        self._term: int | None = None
        super().__init__(url)
        with self.transaction():
            hold_more_pages(self._connection())
            self._checkpoints = Checkpoints(self._engine, self._connection())
            term = self.number(TERM) + 1
            self.put_number(TERM, term)
        self._term = term

    def _writing(self) -> Engine:
        return self._engine.execution_options(**{SERVED: True})

    def checkpoint(self, idle: bool) -> None:
        self._checkpoints.take(idle)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            if self._term is not None and self.number(TERM) != self._term:
                raise StoreError("another aggregator serves this database now; this one stops, and may stand by")
            yield
