"""Keeps what a store holds in memory alone: the same contract as SQLite's, without a disk."""

from __future__ import annotations

from edge_agent.store.store import TAIL_BYTES_MAX, Changes, OutboxRow
from headway.errors import StoreError


class MemoryStore:
    """Implements `Store`, for a replay and for tests."""

    def __init__(self) -> None:
        self._state: dict[str, bytes] = {}
        self._rows: dict[int, bytes] = {}
        self._windows: dict[str, bytes] = {}
        self._journal: list[bytes] = []
        self._tail: list[bytes] = []

    def load(self) -> dict[str, bytes]:
        return dict(self._state)

    def journal(self) -> list[bytes]:
        return list(self._journal)

    def tail(self) -> list[bytes]:
        return list(self._tail)

    def outbox(self, after: int, rows_max: int) -> list[OutboxRow]:
        waiting = sorted(sequence for sequence in self._rows if sequence > after)
        return [OutboxRow(sequence, self._rows[sequence]) for sequence in waiting[:rows_max]]

    def outbox_size(self) -> tuple[int, int]:
        return len(self._rows), sum(map(len, self._rows.values()))

    def windows(self) -> list[tuple[str, bytes]]:
        return list(self._windows.items())

    def commit(self, changes: Changes) -> None:
        rows = {s: p for s, p in self._rows.items() if s > (changes.acknowledged or 0)}
        taken = [row.sequence for row in changes.outbox if row.sequence in rows]
        if taken:
            raise StoreError(f"outbox sequence {taken[0]} is taken")
        self._state |= changes.state
        for name in changes.dropped:
            self._state.pop(name, None)
        if changes.checkpoint:
            self._tail, self._journal = _newest([*self._tail, *self._journal]), []
        self._journal += changes.journal
        for window_id in changes.forgotten:
            self._windows.pop(window_id, None)
        self._windows |= changes.windows
        self._rows = rows | {row.sequence: row.payload for row in changes.outbox}

    def close(self) -> None:
        """Nothing to let go of."""


def _newest(entries: list[bytes]) -> list[bytes]:
    """The last of them, at most TAIL_BYTES_MAX and one more."""
    size, first = 0, len(entries)
    while first and size < TAIL_BYTES_MAX:
        first -= 1
        size += len(entries[first])
    return entries[first:]
