"""Keeps a store usable whose disk refuses: full, read-only, failing or corrupt, it does not end the service.

    good      every commit goes through
    degraded  a commit was refused. It is kept in memory, nothing more is learned and nothing sent to the aggregator;
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

    backup: notified of each commit that went through, and of acknowledgements; what it raises degrades as well.
    """

    def __init__(self, store: Store, backup: Backup | None = None) -> None:
        self._store, self._backup = store, backup
        self._backlog: Changes | None = None
        self._try_at_s = 0.0
        self.problem = ""
        self.error: StoreError | None = None

    @property
    def degraded(self) -> bool:
        return bool(self.problem)

    @property
    def current(self) -> Store:
        """The store behind it now: `replace` puts another one there."""
        return self._store

    def back_up(self) -> None:
        """Copy what is committed, for a database that gets damaged. Raises StoreError."""
        if self._backup is not None:
            self._backup.back_up(self._store)

    def note_acknowledged(self, epoch: int, counter: int, now_s: float) -> None:
        """Record the aggregator's ack beside the store: a store that is behind it was restored from an older backup."""
        if self._backup is None or self.degraded:
            return
        try:
            self._backup.note(epoch, counter)
        except StoreError as error:
            self.failed(error, now_s)

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
                if self._backup is not None:
                    self._backup.saved(changes, self._store)
        except StoreError as error:
            self.failed(error, now_s)
            return
        self.problem, self.error = "", None
