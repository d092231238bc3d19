"""Which updates to send now, and how many more may wait. The rows themselves lie in the store."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.store import OutboxRow
from headway.wire import Update

NEVER_S = -1e9
UNBOUNDED = 2**53
# of an update: float32 weights, and room for names and numbers
WEIGHT_BYTES, HEADER_BYTES = 4, 2048


@dataclass(slots=True)
class Outbox:
    """rows_left, bytes_left: what the store may still take before the next commit.

    pace_s: the shortest pause between two batches, as the aggregator asks; it holds over connections.
    """

    ack_timeout_s: float
    rows_left: int = UNBOUNDED
    bytes_left: int = UNBOUNDED
    pace_s: float = 0.0
    _sent: int = 0
    _acked: int = 0
    _progress: bool = False
    _waits_since_s: float = NEVER_S
    _batch_at_s: float = NEVER_S

    def paused(self, now_s: float) -> bool:
        """Whether the pause after the last batch is not over."""
        return now_s - self._batch_at_s < self.pace_s

    def position(self, now_s: float) -> int:
        """Sequence after which rows are to be sent now; goes back when acks stay out too long.

        New rows do not put it off: behind one that was lost the aggregator takes none of them.
        """
        if self._progress:
            self._progress, self._waits_since_s = False, now_s
        elif now_s - self._waits_since_s >= self.ack_timeout_s:
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

    def has_room(self, classes: int, size: int) -> bool:
        """Whether an update of float32 (classes, size + 1) may be added."""
        return self.rows_left > 0 and self.bytes_left >= classes * (size + 1) * WEIGHT_BYTES + HEADER_BYTES

    def added(self, row: OutboxRow) -> None:
        """A row is about to be committed."""
        self.rows_left -= 1
        self.bytes_left -= len(row.payload)


def as_sent(row: OutboxRow, acked: int) -> bytes:
    """A row as it leaves now; acked: the sequence up to which rows were acknowledged and deleted."""
    return Update.with_acked(row.payload, acked)
