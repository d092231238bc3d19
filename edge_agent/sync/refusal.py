"""Knows whether the aggregator refuses what this device reports, and how long the device then waits."""

from __future__ import annotations

from headway.wire import Ack

# how often the wait doubles; with the default of ack_timeout_s it ends at 16 minutes
DOUBLINGS_MAX = 5


class Refusal:
    """Of one device. reason: why its reports are refused, empty while they are taken.

    ack_timeout_s: after so many seconds a report that was not answered is sent again; a refused one later and later.
    """

    def __init__(self, ack_timeout_s: float) -> None:
        self._ack_timeout_s = ack_timeout_s
        self.reason = ""
        self._times = self._epoch = self._counter = self._sequence = 0

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next report."""
        return self._ack_timeout_s * 2 ** min(self._times, DOUBLINGS_MAX) if self.reason else 0.0

    @property
    def words(self) -> str:
        """A line for people; none while nothing is refused."""
        return f"the aggregator refuses this device's reports: {self.reason}" if self.reason else ""

    def told(self, ack: Ack, epoch: int, acked: int) -> None:
        """The aggregator refused a report. epoch, acked: the device's own, for where the ack does not know them."""
        known = ack.epoch == epoch
        self.reason = f"{ack.refused}: {ack.problem}" if ack.problem else ack.refused
        self._times += 1
        self._epoch = epoch
        self._counter = max(acked, ack.counter if known else 0)
        self._sequence = max(self._sequence, ack.sequence) if known else self._sequence

    def answered(self, ack: Ack) -> None:
        """What is stored goes beyond what it was when the refusal came: reports are taken again.

        The ack that follows a refusal tells the same as that did, also where a refused update's number was taken.
        """
        if ack.epoch != self._epoch or ack.counter > self._counter or ack.sequence > self._sequence:
            self.reason, self._times = "", 0
            self._epoch, self._counter, self._sequence = ack.epoch, ack.counter, ack.sequence
