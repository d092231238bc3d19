"""The store behind its failures: a disk that is full, read-only, failing or corrupt does not end the service.

    good      every commit goes through
    degraded  a commit was refused. It is kept in memory, nothing more is learned and nothing told to the aggregator;
              predictions go on. Every `RETRY_S` it is tried again, and when it goes through, all is good by itself

Nothing is lost by a power cut in between: what was not committed still lies claimed in the spool.
"""

from __future__ import annotations

from edge_agent.store.recovery import Backup
from edge_agent.store.store import Changes, Condition, OutboxRow, Store, StoreFailure
from headway.errors import StoreError

RETRY_S = 10.0


class RetryingStore:
    """A store whose `commit` does not raise. `problem` says in one line why it is degraded; empty when it is good.

    safekeeping: told of each commit that went through; what it raises degrades as well.
    """

    def __init__(self, store: Store, backup: Backup | None = None) -> None:
        self._store, self.backup = store, backup
        self._backlog: Changes | None = None
        self._try_at_s = 0.0
        self.problem = ""
        self.error: StoreError | None = None

    @property
    def degraded(self) -> bool:
        return bool(self.problem)

    @property
    def store(self) -> Store:
        return self._store

    def commit(self, changes: Changes, now_s: float) -> None:
        """Make the changes durable, now or when the disk takes them again."""
        self.postpone(changes)
        if not self.degraded:
            self._try(now_s)

    def postpone(self, changes: Changes) -> None:
        """Keep the changes for the next attempt."""
        self._backlog = changes if self._backlog is None else self._backlog.then(changes)

    def failed(self, error: StoreError, now_s: float) -> None:
        """The disk refused something."""
        self.error, self.problem, self._try_at_s = error, str(error), now_s + RETRY_S

    def refused(self, error: StoreError, now_s: float) -> None:
        """The disk refused before there was anything to commit; it is tried all the same."""
        self.postpone(Changes({}))
        self.failed(error, now_s)

    def due(self, now_s: float) -> bool:
        """Whether it is time for another attempt."""
        return self.degraded and now_s >= self._try_at_s

    def retry(self, now_s: float) -> bool:
        """Try again; True when all is good now."""
        self._try(now_s)
        return not self.degraded

    @property
    def damaged(self) -> bool:
        """Whether the database itself must be replaced."""
        return isinstance(self.error, StoreFailure) and self.error.condition is Condition.DAMAGED

    def replace(self, store: Store, everything: Changes, now_s: float) -> None:
        """Go on in another, empty store; `everything` is all that must be in it, the backlog included."""
        self._store, self._backlog = store, everything
        self._try(now_s)

    @property
    def uncommitted_rows(self) -> tuple[OutboxRow, ...]:
        """Outbox rows of the changes that were refused."""
        return () if self._backlog is None else self._backlog.outbox

    def outbox(self, after: int, rows_max: int) -> list[OutboxRow]:
        """As `Store.outbox`; nothing while degraded."""
        return [] if self.degraded else self._store.outbox(after, rows_max)

    def outbox_size(self) -> tuple[int, int]:
        """As `Store.outbox_size`, without the backlog."""
        return self._store.outbox_size()

    def _try(self, now_s: float) -> None:
        try:
            if self._backlog is not None:
                changes = self._backlog
                self._store.commit(changes)
                self._backlog = None
                if self.backup is not None:
                    self.backup.saved(changes, self._store)
        except StoreError as error:
            self.failed(error, now_s)
            return
        self.problem, self.error = "", None
