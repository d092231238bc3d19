"""Queues updates for the fleet, and decides which to send now. The rows themselves lie in the store."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from edge_agent.config import SyncSettings
from edge_agent.learner import PendingUpdate
from edge_agent.store import OutboxRow
from edge_agent.sync.error_feedback import ErrorFeedback
from edge_agent.sync.history import SyncState
from headway.wire import Update

NEVER_S = -1e9
# of an update: float32 weights, and room for names and numbers
WEIGHT_BYTES, HEADER_BYTES = 4, 4096


@dataclass(frozen=True, slots=True)
class WaitingUpdate:
    """A row of the store: it covers `samples` labels, learned after position `since` and up to `position`
    (`SyncState.position`). position 0: it is of an agent that did not note it."""

    sequence: int
    since: int
    position: int
    samples: int


class Outbox:
    """One device's updates on their way. rows_max, bytes_max of `settings`: what the store may hold of them.

    pace_s: the shortest pause between two batches, as the aggregator asks; it holds over connections.
    """

    def __init__(self, device: str, settings: SyncSettings) -> None:
        self._device, self._settings = device, settings
        self._pace_s = 0.0
        # made since the last commit
        self._new: list[OutboxRow] = []
        self._waiting: deque[WaitingUpdate] = deque()
        self.feedback = ErrorFeedback()
        self._sent = self._acked = 0
        # in this run of the program, under this epoch, over connections
        self._sent_max = 0
        self._progress = False
        self._waits_since_s = self._batch_at_s = NEVER_S
        self.note_stored(0, 0)

    def note_stored(self, rows: int, size_bytes: int) -> None:
        """So many rows, of so many bytes, are in the store."""
        self._rows_left = self._settings.outbox_rows_max - rows
        self._bytes_left = self._settings.outbox_bytes_max - size_bytes

    @property
    def unplaced(self) -> bool:
        """Whether the row that is to be acknowledged next does not tell where it lies in the device's history."""
        return bool(self._waiting) and not self._waiting[0].position

    def resume(self, rows: Iterable[OutboxRow]) -> None:
        """Go on with the rows that the store holds."""
        self._waiting.clear()
        for row in rows:
            update = Update.decode(row.payload)
            self._waiting.append(WaitingUpdate(row.sequence, update.since, update.counter, update.samples))

    def queue(self, update: PendingUpdate, state: SyncState, space: str, classes: tuple[str, ...]) -> None:
        """Make an update a row of the next commit. classes: names of its rows, as the fleet has them."""
        precision, place = self._settings.update_precision, state.queue_update()
        message = Update(
            self._device,
            state.epoch,
            place.sequence,
            update.base_version,
            update.samples,
            space,
            classes,
            self.feedback.added(update.delta, precision),
            place.history.run_id,
            precision,
            since=place.since,
            counter=place.position,
            earlier_runs=place.history.earlier_runs,
            run_ends=place.history.run_ends,
        )
        row = OutboxRow(message.sequence, message.encode())
        self._new.append(row)
        self._waiting.append(WaitingUpdate(place.sequence, place.since, place.position, update.samples))
        self._rows_left -= 1
        self._bytes_left -= len(row.payload)

    def take_rows(self) -> tuple[OutboxRow, ...]:
        """Rows made since the last call, to be committed."""
        rows, self._new = tuple(self._new), []
        return rows

    def set_pace(self, pace_s: float) -> None:
        """The aggregator asks for such a pause between two batches."""
        self._pace_s = pace_s

    def paused(self, now_s: float) -> bool:
        """Whether the pause after the last batch is not over."""
        return now_s - self._batch_at_s < self._pace_s

    def position(self, now_s: float) -> int:
        """Sequence after which rows are to be sent now; goes back when acks stay out too long.

        New rows do not put it off: behind one that was lost the aggregator takes none of them.
        """
        if self._progress:
            self._progress, self._waits_since_s = False, now_s
        elif now_s - self._waits_since_s >= self._settings.ack_timeout_s:
            self._sent, self._waits_since_s = 0, now_s
        return self._sent

    def sent(self, sequence: int, now_s: float) -> None:
        """Rows up to `sequence` were handed to the transport. They stay stored until acknowledged."""
        if not self._sent:
            self._waits_since_s = now_s
        self._sent, self._batch_at_s = sequence, now_s
        self._sent_max = max(self._sent_max, sequence)

    def taken(self, position: int) -> int:
        """The row up to which everything was learned up to `position`; 0 for none."""
        return max((row.sequence for row in self._waiting if 0 < row.position <= position), default=0)

    def acknowledged(self, sequence: int) -> int:
        """The aggregator has the rows up to `sequence`; up to which they may go. Acks can be forged: what this run has
        not sent stays, and is answered once more when it was."""
        sequence = min(sequence, self._sent_max)
        while self._waiting and self._waiting[0].sequence <= sequence:
            self._waiting.popleft()
        if sequence > self._acked:
            self._progress, self._acked = True, sequence
        return sequence

    def leave(self, parted: int) -> tuple[int, int]:
        """Another branch of the device's history has told what was learned up to position `parted`: rows that begin
        before go. Returns the last one's sequence, 0 for none, and how many labels from after that they hold."""
        last = labels = 0
        while self._waiting and (not self._waiting[0].position or self._waiting[0].since < parted):
            row = self._waiting.popleft()
            last, labels = row.sequence, labels + min(row.samples, max(0, row.position - parted))
        return last, labels

    def restart(self) -> None:
        """Begin again with the lowest row: the connection is new, or the numbers are."""
        self._sent, self._acked, self._progress, self._waits_since_s = 0, 0, False, NEVER_S

    def begin_epoch(self, dropped: int) -> None:
        """Rows up to `dropped` go, those that were not committed, too; the others are sent under the new epoch."""
        self._new = [row for row in self._new if row.sequence > dropped]
        while self._waiting and self._waiting[0].sequence <= dropped:
            self._waiting.popleft()
        self._sent_max = 0
        self.restart()

    def has_room(self, classes: int, size: int) -> bool:
        """Whether an update of float32 (classes, size + 1) may be added."""
        return self._rows_left > 0 and self._bytes_left >= classes * (size + 1) * WEIGHT_BYTES + HEADER_BYTES


def as_sent(row: OutboxRow, acked: int, state: SyncState) -> bytes:
    """A row as it leaves now; acked: the sequence up to which rows were deleted."""
    return Update.stamped(row.payload, acked, state.epoch, state.base)
