"""Keeps an agent's state in memory where the disk refuses from the very start, until it takes commits.

What the disk holds is read, so that predictions go on with what the device had learned; nothing more is learned
(edge_agent/store/retrying.py). Once the disk can be written the agent starts again on it, as if it were its first try.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

from edge_agent.store.memory import MemoryStore
from edge_agent.store.recovery import BACKUP, DATABASE, position_of, read_backup
from edge_agent.store.store import Changes, SQLiteStore, StoreFailure
from headway.errors import StoreError

log = logging.getLogger("edge-agent")
PROBE = "standby"
ROWS_MAX = 1 << 30


class StandbyStore(MemoryStore):
    """Takes commits until `refuse` is called; from then on each one is an attempt to write to the disk.

    failure: why the disk could not be used. usable: the disk has taken a commit; start again.
    """

    def __init__(self, folder: Path, failure: StoreFailure) -> None:
        super().__init__()
        self.failure, self.usable = failure, False
        self._path = folder / DATABASE
        self._refusing = False
        self._fill()

    def refuse(self) -> None:
        """From now on nothing is kept here."""
        self._refusing = True

    def commit(self, changes: Changes) -> None:
        if not self._refusing:
            super().commit(changes)
            return
        store = SQLiteStore(self._path)
        try:
            # written and dropped again: opening alone does not write
            store.commit(Changes({PROBE: b""}))
            store.commit(Changes({}, dropped=(PROBE,)))
        finally:
            store.close()
        self.usable = True
        raise StoreFailure(self.failure.condition, "the disk takes commits again; the agent starts again on it")

    def _fill(self) -> None:
        """Read a copy of the database and its log: SQLite cannot read a log on a disk that it cannot write."""
        try:
            with tempfile.TemporaryDirectory(prefix="edge-agent-") as folder:
                copy = Path(folder) / DATABASE
                for end in ("", "-wal"):
                    source = self._path.with_name(DATABASE + end)
                    if source.exists():
                        shutil.copyfile(source, copy.with_name(DATABASE + end))
                store = SQLiteStore(copy)
                try:
                    self._take_over(store)
                finally:
                    store.close()
            if position_of(self.load(), self.journal()) is not None:
                return
            problem = "the database is missing or empty"
        except (OSError, StoreError) as error:
            problem = f"the database cannot be read: {error}"
        try:
            super().commit(read_backup(self._path.with_name(BACKUP)))
            log.warning("%s; predictions go on with the last backup", problem)
        except StoreError as error:
            # a new device has neither
            said = log.warning if self._path.exists() else log.info
            said("%s; no backup helps (%s); predictions are those of the bundle", problem, error)

    def _take_over(self, store: SQLiteStore) -> None:
        state, journal = store.load(), tuple(store.journal())
        windows, outbox = dict(store.windows()), tuple(store.outbox(0, ROWS_MAX))
        super().commit(Changes({}, journal=tuple(store.tail())))
        super().commit(Changes(state, outbox, windows=windows, journal=journal, checkpoint=True))
