"""Goes on from memory in a new database, where the old one was damaged while the agent ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_agent.agent import Agent
from edge_agent.store import Changes, OutboxRow, RetryingStore, Store
from headway.errors import StoreError

ROWS_MAX = 1 << 30


def go_on_from_memory(
    store: RetryingStore, agent: Agent, replace_database: Callable[[Store], Store], now_s: float
) -> None:
    """Memory holds everything but the outbox. Raises StoreError when no new database can be had."""
    problem = store.problem
    rows = _readable_outbox(store)
    new = replace_database(store.current)
    changes = Changes({}, outbox=rows or ())
    if rows is None and agent.sync_state.sequence:
        # the updates that waited are gone, and the aggregator takes none after a gap
        changes = changes.then(agent.fork(problem))
    everything = agent.everything()
    known = {row.sequence for row in everything.outbox}
    waiting = tuple(row for row in changes.outbox if row.sequence not in known)
    store.replace(new, replace(everything, outbox=waiting + everything.outbox), now_s)


def _readable_outbox(store: RetryingStore) -> tuple[OutboxRow, ...] | None:
    """Rows of the damaged database and those not yet committed; None when they cannot be read."""
    try:
        return (*store.current.outbox(0, ROWS_MAX), *store.uncommitted_rows)
    except StoreError:
        return None
