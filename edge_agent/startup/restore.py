"""Restores a learner from a store's last commit: the checkpoint, then the journal applied again."""

from __future__ import annotations

from edge_agent.agent import Agent
from edge_agent.learner import HeadLearner
from edge_agent.store import BLOB, INDEX, PIECE, RECOVERED, Entry, Store, join, redo
from edge_agent.sync import SyncState
from headway.errors import DataError, RemoteError, StoreError


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
        agent.restore(state, saved, frozenset(kept), len(store.journal()))
    agent.windows.restore(store.windows())
