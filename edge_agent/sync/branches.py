"""Decides whether an ack is of another branch of this device's history, where the branches part, and what is left out.

exact learner: statistics of where they part are known (past.py), and the new epoch counts from there
gradient learner: updates that begin after that point go on under the new epoch; what lies before was told by the other
branch. One update may lie over it; its labels from afterwards cannot be told apart, and an event names them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.learner import Trainer
from edge_agent.sync.epochs import Epochs
from edge_agent.sync.outbox import Outbox
from edge_agent.sync.uplink import Uplink
from headway.wire import Ack

ALL_ROWS = 2**53


@dataclass(frozen=True, slots=True)
class Left:
    """What goes with an epoch that is left: outbox rows up to `row`. words: what the fleet will not hear of, for
    people; empty for nothing."""

    row: int
    words: str


class Branches:
    """Of one device."""

    def __init__(self, epochs: Epochs, outbox: Outbox, uplink: Uplink, trainer: Trainer) -> None:
        self._epochs, self._outbox, self._uplink, self._trainer = epochs, outbox, uplink, trainer

    def contradiction(self, ack: Ack) -> str | None:
        """Why an ack of this epoch tells of another branch; None when it does not."""
        contradiction = self._epochs.state.contradiction(ack)
        if contradiction is None and self._told_to_part(ack):
            return "the aggregator counts a part of this already, from another branch of this device's history"
        return contradiction

    def tells_where(self, ack: Ack) -> bool:
        """Whether to part after an ack that contradicts. If not, it answers another copy, and the answer to what this
        device sends next will tell where the branches part."""
        if self._told_to_part(ack):
            return True
        if self._epochs.exact:
            known = self._epochs.state.shared_with(ack, self._uplink.sent_counter) is not None
            return known or not self._uplink.repeat_unanswered()
        # what waits is sent again until it is answered; updates that do not tell their place are answered by number
        return not ack.counter or self._outbox.unplaced

    def parted_at(self, ack: Ack) -> int | None:
        """The counter at which this branch and the one that an ack is about part; None where that is not known."""
        state = self._epochs.state
        if self._epochs.exact:
            return state.shared_with(ack, self._uplink.sent_counter)
        return state.end_of(ack.parting.shared) if ack.parting is not None and self._told_to_part(ack) else None

    def leave(self, counter: int | None) -> Left:
        """Begin a new epoch where the branches part, at `counter`; None for here and now."""
        if self._epochs.exact:
            return _left(ALL_ROWS, self._epochs.leave(counter), "changes since then")
        state, trainer = self._epochs.state, self._trainer
        parted = state.position if counter is None else state.base + counter
        row, labels = self._outbox.leave(parted)
        if state.queued < parted:
            labels += min(trainer.unfinished, state.position - parted)
            trainer.take_update(early=True)
            state.drop_update()
        if counter is None:
            # whatever is not acknowledged, at most
            row, labels = ALL_ROWS, max(0, state.counter - state.acked)
        self._epochs.leave(counter)
        return _left(row, labels, "labels of updates that were not finished where the branches part")

    def _told_to_part(self, ack: Ack) -> bool:
        """Whether an ack says that what this device has sent is of another branch."""
        state = self._epochs.state
        if self._epochs.exact:
            return state.is_told_to_part(ack, self._uplink.sent_counter)
        return ack.parting is not None and state.includes(ack.parting.answered)


def _left(row: int, count: int, what: str) -> Left:
    return Left(row, f"{count} {what} cannot be told any more, they stay on this device" if count else "")
