"""A report that does not fit one message: sent in parts, a few at a time, from the first that is not stored yet."""

from __future__ import annotations

from headway.messages import Ack, StatisticsReport, split_report

# as many as may be lost together; each is answered, so the next ones follow at once
WINDOW_PARTS = 4


class Upload:
    """One report on its way. It stays the same until it is whole, however much is learned meanwhile."""

    def __init__(self, report: StatisticsReport, payload: bytes, now_s: float) -> None:
        self.epoch, self.counter = report.epoch, report.counter
        self._parts = split_report(report, payload)
        self._stored = self._sent = 0
        self._heard_s = now_s
        self._pausing = False

    def due(self, now_s: float, ack_timeout_s: float) -> list[bytes]:
        """Parts to send now."""
        if self._pausing:
            self._pausing, self._heard_s = False, now_s
        if now_s - self._heard_s >= ack_timeout_s:
            self._sent, self._heard_s = self._stored, now_s
        upto = min(self._stored + WINDOW_PARTS, len(self._parts))
        parts, self._sent = self._parts[self._sent : upto], max(self._sent, upto)
        return parts

    def heard(self, ack: Ack) -> None:
        """The aggregator says how many parts it has stored."""
        if ack.part_counter == self.counter and self._stored < ack.parts <= len(self._parts):
            self._stored, self._sent = ack.parts, max(self._sent, ack.parts)
        elif self._stored and (ack.part_counter, ack.parts) == (0, 0):
            # put together and refused, or lost: from the start, but not at once
            self._stored, self._sent, self._pausing = 0, len(self._parts), True

    def again(self) -> None:
        """What was in flight may be lost."""
        self._sent = self._stored
