"""Sends the updates of the gradient learner that wait in the store, some at a time."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.agent import Agent
from edge_agent.store import RetryingStore
from edge_agent.sync import as_sent

OUTBOX_ROWS_A_TURN = 20


def send_updates(agent: Agent, store: RetryingStore, publish: Callable[[bytes], int | None], now_s: float) -> None:
    """Those that are due. publish: sends one, None without a connection."""
    if agent.sync_state.sequence == 0 or agent.outbox.paused(now_s):
        return
    waiting = store.outbox(0, 1)
    acked = waiting[0].sequence - 1 if waiting else agent.sync_state.sequence
    for row in store.outbox(agent.outbox.position(now_s), OUTBOX_ROWS_A_TURN):
        if publish(as_sent(row, acked, agent.sync_state)) is None:
            return
        agent.outbox.sent(row.sequence, now_s)
