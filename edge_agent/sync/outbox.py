"""Queues updates for the fleet, and decides which to send now. The rows themselves lie in the store."""

from __future__ import annotations

from edge_agent.config import SyncSettings
from edge_agent.learner import PendingUpdate
from edge_agent.store import OutboxRow
from edge_agent.sync.error_feedback import ErrorFeedback
from edge_agent.sync.history import SyncState
from headway.wire import Update

NEVER_S = -1e9
# of an update: float32 weights, and room for names and numbers
WEIGHT_BYTES, HEADER_BYTES = 4, 2048


class Outbox:
    """One device's updates on their way. rows_max, bytes_max of `settings`: what the store may hold of them.

    pace_s: the shortest pause between two batches, as the aggregator asks; it holds over connections.
    """

    def __init__(self, device: str, settings: SyncSettings) -> None:
        self._device, self._settings = device, settings
        self._pace_s = 0.0
        # made since the last commit
        self._new: list[OutboxRow] = []
        self.feedback = ErrorFeedback()
        self._sent = self._acked = 0
        self._progress = False
        self._waits_since_s = self._batch_at_s = NEVER_S
        self.note_stored(0, 0)

    def note_stored(self, rows: int, size_bytes: int) -> None:
        """So many rows, of so many bytes, are in the store."""
        self._rows_left = self._settings.outbox_rows_max - rows
        self._bytes_left = self._settings.outbox_bytes_max - size_bytes

    @property
    def waiting(self) -> int:
        """Rows that are not acknowledged, as far as `note_stored` and `queue` tell."""
        return self._settings.outbox_rows_max - self._rows_left

    def queue(self, update: PendingUpdate, state: SyncState, space: str, classes: tuple[str, ...]) -> None:
        """Make an update a row of the next commit. classes: names of its rows, as the fleet has them."""
        precision = self._settings.update_precision
        message = Update(
            self._device,
            state.epoch,
            state.next_sequence(),
            update.base_version,
            update.samples,
            space,
            classes,
            self.feedback.added(update.delta, precision),
            state.run_id,
            precision,
        )
        row = OutboxRow(message.sequence, message.encode())
        self._new.append(row)
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

    def acknowledged(self, sequence: int) -> None:
        """The aggregator has the rows up to `sequence`."""
        if sequence > self._acked:
            self._progress, self._acked = True, sequence

    def restart(self) -> None:
        """Begin again with the lowest row: the connection is new, or the numbers are."""
        self._sent, self._acked, self._progress, self._waits_since_s = 0, 0, False, NEVER_S

    def begin_epoch(self) -> None:
        """The numbers are new: rows that were not committed go."""
        self._new.clear()
        self.restart()

    def has_room(self, classes: int, size: int) -> bool:
        """Whether an update of float32 (classes, size + 1) may be added."""
        return self._rows_left > 0 and self._bytes_left >= classes * (size + 1) * WEIGHT_BYTES + HEADER_BYTES


def as_sent(row: OutboxRow, acked: int) -> bytes:
    """A row as it leaves now; acked: the sequence up to which rows were acknowledged and deleted."""
    return Update.with_acked(row.payload, acked)
