"""Shows that a process lives that may not be doubled, and ends the sessions of one that does not.

A session of PostgreSQL lasts as long as its process is there: also one that was stopped, or whose machine swaps, and
that will not say a word for an hour. So the session that holds the place of the one service
(`aggregator.store.serving`) asks something every second, from a thread of its own, which runs while the service thinks.
Who stands by looks when it did so last, by the clock of the database, and after SILENCE_S ends all sessions of that
process, with whatever they have locked. Should it wake up, its next statement fails. One look is not enough for that:
after a pause of the database, or when its clock is put forward, it may come before the next beat of a service that is
well.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime
from types import TracebackType

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from aggregator.store.engine import SERVING, SILENCE_S, reason_of

LOG = logging.getLogger("headway.aggregator")
BEAT_S = 1.0
# that find the same beat, one after the other
LOOKS = 3
# how soon a lock is free once its session was told to end
FREE_S, LOOK_S = 1.0, 0.05
# an advisory lock of one number is listed in two halves; an earlier release has no pulse, and its sessions no name
HOLDER = text(
    "SELECT a.application_name, a.state_change, clock_timestamp() - a.state_change > make_interval(secs => :silence_s) "
    "FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND a.datname = current_database() "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND l.classid = :high AND l.objid = :low AND a.application_name LIKE 'headway-%'"
)
END = text(
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name = :process AND datname = current_database()"
)
LEFT = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = :process AND datname = current_database()")


class Pulse:
    """Of the session that holds the place, from the beginning of the context to its end. Nobody else uses its
    connection meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._over = connection, threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                with self._connection.begin():
                    self._connection.exec_driver_sql("SELECT 1")
            except SQLAlchemyError as error:
                LOG.warning("the session that holds the place of the service has ended: %s", reason_of(error))
                return


class Onlooker:
    """Who stands by. Its looks at the holder of the place follow each other at least a beat apart."""

    def __init__(self) -> None:
        self._beat: datetime | None = None
        self._looks = 0

    def end_who_stands_still(self, connection: Connection) -> bool:
        """Whether the holder had been silent for too long, and was shut out. connection: in no transaction."""
        with connection.begin():
            found = connection.execute(
                HOLDER, {"high": SERVING >> 32, "low": SERVING & 0xFFFF_FFFF, "silence_s": SILENCE_S}
            ).first()
        process, beat, silent = ("", None, False) if found is None else found
        self._looks = self._looks + 1 if beat == self._beat else 1
        self._beat = beat
        if not silent or self._looks < LOOKS:
            return False
        LOG.warning("the service that ran on this database has been silent for %d s; ending its sessions", SILENCE_S)
        with connection.begin():
            connection.execute(END, {"process": process})
        for _ in range(int(FREE_S / LOOK_S)):
            with connection.begin():
                if not connection.execute(LEFT, {"process": process}).scalar():
                    break
            time.sleep(LOOK_S)
        return True
