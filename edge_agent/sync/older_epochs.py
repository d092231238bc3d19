"""Keeps what earlier epochs of this device hold, for an aggregator that lost its store or was set back to an older one.

The broker retains only the newest epoch's tables. When there is doubt about what the aggregator still knows, the older
ones are sent again; one that knows them already changes nothing. An epoch that was removed on request is sent as empty
tables, so that an aggregator that was set back to before the removal does not bring it back.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_agent.effects import Send
from edge_agent.store import EPOCH, Extent, Saved
from headway.durable import checked, unchecked
from headway.errors import RemoteError, StoreError
from headway.maths import Statistics
from headway.wire import MESSAGE_BYTES_MAX, REPORT_BYTES_MAX, Ack, Kind, StatisticsReport, split_report

EPOCHS_MAX = 8
NEVER_S = -1e9
# why an aggregator refuses what it cannot read
UNREAD = "malformed"


class OlderEpochs:
    """The last reports of one device's earlier epochs. ack_timeout_s: before one without an answer is sent again."""

    def __init__(self, ack_timeout_s: float) -> None:
        self._ack_timeout_s = ack_timeout_s
        # encoded reports by epoch, oldest first
        self._reports: dict[int, bytes] = {}
        self._counters: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._sent_at_s = NEVER_S
        # whether the next ones are packed for an aggregator that does not know the newer packing (uplink.py)
        self._predict = False
        self._changed: set[int] = set()

    def add(self, report: StatisticsReport) -> None:
        """An epoch has ended with this."""
        self._put(report)
        while len(self._reports) > EPOCHS_MAX:
            oldest = next(iter(self._reports))
            del self._reports[oldest], self._counters[oldest]
            self._waiting.discard(oldest)
            self._changed.add(oldest)

    def remove(self, newest: StatisticsReport) -> None:
        """Every epoch so far was removed on request. newest: the last one's report."""
        self.add(newest)
        for report in map(StatisticsReport.decode_stored, list(self._reports.values())):
            # one that was emptied before keeps its counter: the next one may be the first of the epoch after it
            if report.statistics.samples:
                self._put(_emptied(report))

    def doubt(self) -> None:
        """The aggregator may not know them."""
        self._waiting = set(self._reports)
        self._sent_at_s, self._predict = NEVER_S, False

    def acknowledged(self, ack: Ack) -> None:
        """The aggregator has answered about some epoch. What it does not take is sent again at the next doubt only, but
        for what it could not read, which it may in the older packing."""
        unread = ack.refused == UNREAD and self._predict
        settled = ack.removed or (bool(ack.refused) and not unread) or ack.parting is not None
        if ack.epoch in self._waiting and (settled or ack.counter >= self._counters[ack.epoch]):
            self._waiting.discard(ack.epoch)

    def due(self, now_s: float) -> list[Send]:
        """What to send now, before the newest epoch's report: in the newer packing and the older one by turns."""
        if not self._waiting or now_s - self._sent_at_s < self._ack_timeout_s:
            return []
        self._sent_at_s = now_s
        sends = []
        for epoch in self._reports:
            if epoch in self._waiting:
                sends += [Send(Kind.STATISTICS, part, retained=False) for part in self._messages(epoch)]
        self._predict = not self._predict
        return sends

    def take_changes(self, extent: Extent) -> Saved:
        changed = set(self._reports) if extent is Extent.EVERYTHING else self._changed
        self._changed = set()
        dropped = tuple(f"{EPOCH}{epoch}" for epoch in changed if epoch not in self._reports)
        # in the order in which they ended
        order = {epoch: place for place, epoch in enumerate(self._reports)}
        kept = sorted((epoch for epoch in changed if epoch in order), key=order.__getitem__)
        return Saved({f"{EPOCH}{epoch}": checked(self._reports[epoch]) for epoch in kept}, dropped)

    def restore(self, saved: Mapping[str, bytes]) -> None:
        for name, value in saved.items():
            if name.startswith(EPOCH):
                payload = unchecked(value, "what is saved of an older epoch")
                try:
                    report = StatisticsReport.decode_stored(payload)
                except RemoteError as error:
                    raise StoreError(f"what an older epoch holds is damaged: {error}") from error
                self._reports[report.epoch], self._counters[report.epoch] = payload, report.counter
        self.doubt()

    def _messages(self, epoch: int) -> list[bytes]:
        payload = self._reports[epoch]
        if not self._predict and len(payload) <= MESSAGE_BYTES_MAX:
            return [payload]
        report = StatisticsReport.decode_stored(payload, accepted=True)
        payload = report.encode(predict=True) if self._predict else payload
        return [payload] if len(payload) <= MESSAGE_BYTES_MAX else split_report(report, payload)

    def _put(self, report: StatisticsReport) -> None:
        payload = report.encode()
        if not report.counter or len(payload) > REPORT_BYTES_MAX:
            return  # nothing was counted, or it never could be sent
        self._reports[report.epoch], self._counters[report.epoch] = payload, report.counter
        self._changed.add(report.epoch)


def _emptied(report: StatisticsReport) -> StatisticsReport:
    """The next report of the same epoch, without any sample."""
    tables = report.statistics
    nothing = Statistics.zeros(tables.size, tables.classes, tables.space)
    return StatisticsReport(report.device, report.epoch, report.counter + 1, nothing, report.history)
