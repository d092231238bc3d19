"""Restores a learner from a store's last commit: the checkpoint, then the journal applied again."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from edge_agent.agent import Agent
from edge_agent.learner import HeadLearner
from edge_agent.store import BLOB, INDEX, PIECE, RECOVERED, Entry, OutboxRow, Store, join, redo
from edge_agent.sync import SyncState
from headway.errors import DataError, RemoteError, StoreError

log = logging.getLogger("edge-agent")

OUTBOX_ROWS_A_TIME = 20


def restore_learner(store: Store, learner: HeadLearner) -> SyncState | None:
    """Bring a fresh learner to the last commit; the sync state of then, None for an empty store. Raises StoreError."""
    saved = store.load()
    if not saved.keys() - {RECOVERED}:
        return None
    try:
        learner.restore(join(saved) if INDEX in saved else saved[BLOB])
        sync = saved["sync"]
        for payload in store.journal():
            entry = Entry.decode(payload, learner.trainer.labels)
            redo(learner, entry.operations)
            sync = entry.sync
        return SyncState.decode(sync)
    except KeyError as error:
        raise StoreError(f"the store lacks {error}") from error
    except (DataError, RemoteError) as error:
        raise StoreError(f"the journal does not fit this learner: {error}") from error


def resume(agent: Agent, store: Store) -> None:
    """The same for a whole agent; one with an empty store begins the history of its own sync state."""
    state = restore_learner(store, agent.learner)
    if state is not None:
        saved = store.load()
        kept = [name for name in saved if name.startswith(PIECE) or name == BLOB]
        journal = store.journal()
        newest = [*_readable(store.tail()), *map(Entry.decode, journal)]
        agent.restore(state, saved, frozenset(kept), len(journal), newest)
        agent.outbox.resume(_outbox(store))
    agent.windows.restore(store.windows())


def _outbox(store: Store) -> Iterator[OutboxRow]:
    """Every row that waits, a few of them in memory at a time."""
    rows = store.outbox(0, OUTBOX_ROWS_A_TIME)
    while rows:
        yield from rows
        rows = store.outbox(rows[-1].sequence, OUTBOX_ROWS_A_TIME)


def _readable(tail: list[bytes]) -> list[Entry]:
    """The newest entries before the checkpoint, as far back as they can be read: nothing depends on them but how far
    back a branch of the device's history is known exactly."""
    entries: list[Entry] = []
    for payload in reversed(tail):
        try:
            entries.insert(0, Entry.decode(payload))
        except StoreError as error:
            log.warning("the journal before the last checkpoint is not used: %s", error)
            break
    return entries
