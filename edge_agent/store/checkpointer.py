"""Decides what a commit writes of the learner: an entry of the journal, or now and then a checkpoint."""

from __future__ import annotations

from dataclasses import replace

from edge_agent.learner import HeadLearner, Operation
from edge_agent.store.journal import Entry
from edge_agent.store.pieces import INDEX, split
from edge_agent.store.store import Changes

# between two checkpoints: few enough to be done again in a second at the next start, many enough to make a
# checkpoint cheap per label
CHECKPOINT_OPERATIONS = 256


class Checkpointer:
    """Collects operations until the next commit, and knows which pieces of the last checkpoint the store holds."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._journalled = 0
        self._pieces: frozenset[str] = frozenset()
        # there is nothing to append to before the first one
        self._checkpoint_due = True

    def note(self, operation: Operation) -> None:
        """Remember what was done to the learner until the next commit."""
        self._operations.append(operation)
        if len(self._operations) >= CHECKPOINT_OPERATIONS:
            # the commit will be a checkpoint, which needs no list of them
            self._checkpoint_due = True
            self._operations.clear()

    def resume(self, pieces: frozenset[str], journalled: int) -> None:
        """Go on in a store that holds these pieces and a journal of that length."""
        self._pieces, self._journalled, self._checkpoint_due = pieces, journalled, False

    def demand_checkpoint(self) -> None:
        """The next commit writes the whole state."""
        self._checkpoint_due = True

    def demand_everything(self) -> None:
        """The next commit writes the whole state, for a store that holds nothing."""
        self._pieces, self._checkpoint_due = frozenset(), True

    @property
    def checkpoint_due(self) -> bool:
        """Whether the next commit is a checkpoint."""
        return self._checkpoint_due or self._journalled + max(1, len(self._operations)) >= CHECKPOINT_OPERATIONS

    def record(self, changes: Changes, learner: HeadLearner, sync: bytes) -> Changes:
        """`changes`, and the learner and the sync state as they are now."""
        checkpoint = self.checkpoint_due
        operations, self._operations = self._operations, []
        self._journalled += max(1, len(operations))
        if not checkpoint:
            return replace(changes, journal=(Entry(sync, operations).encode(),))
        saved = split(learner.encode())
        new = {name: piece for name, piece in saved.items() if name not in self._pieces}
        gone = (*changes.dropped, *sorted(self._pieces - set(saved)))
        self._pieces = frozenset(saved) - {INDEX}
        self._journalled, self._checkpoint_due = 0, False
        return replace(changes, state=changes.state | new | {"sync": sync}, checkpoint=True, dropped=gone)
