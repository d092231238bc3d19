"""Decides when the exact learner's statistics and the metrics go out, and how: whole, as a change, or in parts.

Statistics are cumulative, so only the newest matter, until the aggregator has acknowledged them. Where whole ones are
long, what was learned since the acknowledged ones goes out instead, as long as everything is answered in order.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.config import SyncSettings
from edge_agent.effects import Send
from edge_agent.learner import HeadLearner
from edge_agent.sync.history import Baseline, SyncState
from headway.errors import LocalError
from headway.wire import (
    MESSAGE_BYTES_MAX,
    REPORT_BYTES_MAX,
    Ack,
    Kind,
    Metrics,
    StatisticsReport,
    change_between,
    split_report,
)

NEVER_S = -1e9
# reports of a branch whose answers did not come, before it parts where it stands
UNTOLD_MAX = 8
# after so many changes whole statistics, which the broker retains for an aggregator that loses its store
CHANGES_MAX = 20
# parts of a long report on their way: as many as may be lost together; each is answered, so the next follow at once
WINDOW_PARTS = 4
# acks carry no seal: what one covered is told once more, after so long or after a start
TOLD_AGAIN_S = 43_200.0
# of the wait for an answer to that, which is never longer than TOLD_AGAIN_S
DOUBLINGS_MAX = 20


@dataclass(slots=True)
class Uplink:
    """One device's reports.

    pace_s: the pause the aggregator asks for. It holds over connections; `interval_s` does not, because what was in
    flight when one broke may be lost. refusal_pause_s: the pause before what was refused is sent again.
    """

    device: str
    settings: SyncSettings
    pace_s: float = 0.0
    refusal_pause_s: float = 0.0
    _refused: bool = False
    _unsendable_bytes: int = 0
    _sent_counter: int = -1
    _sent_at_s: float = NEVER_S
    _fresh: bool = True
    _doubted: bool = False
    _awaiting: bool = False
    _reports: int = 0
    _asked: int = 0
    _asked_with: int = -1
    _upload: PartsUpload | None = None
    _sent: StatisticsReport | None = None
    _stored: StatisticsReport | None = None
    _whole_bytes: int = 0
    _changes: int = 0
    # pack as an aggregator of release 0.2 or before reads it
    _predict: bool = False
    # what the store held as acknowledged when this run began
    _acked_before: int = -1
    _told_again: int = 0
    _told_again_times: int = 0

    @property
    def doubtful(self) -> bool:
        """Whether the aggregator may have lost what it acknowledged."""
        return self._doubted

    @property
    def awaiting(self) -> bool:
        """Whether a report was sent that is not answered yet. An aggregator that starts answers unasked, to what the
        broker retains."""
        return self._awaiting

    @property
    def told_again(self) -> int:
        """The counter of the report sent last, where that told again what had been acknowledged long before, or in an
        earlier run; 0 where it did not."""
        return self._told_again

    @property
    def sent_counter(self) -> int:
        """Of the report sent last; -1 for none."""
        return self._sent_counter

    def repeat_unanswered(self) -> bool:
        """An ack tells of another branch, but not where it parts from this one: ask again, with a report. False when so
        many were sent for that in vain that nothing will come."""
        if self._asked_with != self._reports:
            self._asked_with, self._asked = self._reports, self._asked + 1
        self.doubt()
        return self._asked <= UNTOLD_MAX

    def doubt(self) -> None:
        """Send whole statistics again, acknowledged or not."""
        self._doubted = True

    def take_unsendable(self) -> str:
        """What to do about a report that is too long even for parts, given once; empty without one."""
        size_bytes, self._unsendable_bytes = self._unsendable_bytes, 0
        if not size_bytes:
            return ""
        return (
            f"statistics have {size_bytes} bytes, a report at most {REPORT_BYTES_MAX}; they stay on this device. "
            "Convert the model with a smaller --expand, --pca or --select"
        )

    def due(
        self, state: SyncState, learner: HeadLearner, baseline: Baseline, now_s: float, connected: bool
    ) -> list[Send]:
        """What to send now."""
        if self._acked_before < 0:
            self._acked_before = state.acked
        if not connected:
            return []
        if self._refused:
            # the pause is counted from here, and parts of what was refused are not sent on
            self._refused, self._upload, self._sent_at_s = False, None, now_s
        if self._upload is not None:
            if not self._upload.taken and self._upload.epoch == state.epoch:
                return self._parts(self._upload, now_s)
            self._upload = None
        # updates are acknowledged on their own, and do not tell of the metrics
        acked = state.acked if learner.kind == "exact" else 0
        again = learner.kind == "exact" and self._is_to_be_told_again(state, now_s)
        self._doubted |= again
        if not self._time_has_come(state, acked, now_s):
            return []
        known = state.counter <= max(self._sent_counter, self._acked_before)
        again |= self._told_again == state.counter  # one without an answer, whatever has it go out once more
        self._told_again = state.counter if again and known else 0
        self._told_again_times = self._told_again_times + 1 if self._told_again else 0
        if self._awaiting and self._sent_counter == state.counter:
            self._pack_otherwise()
        in_order = not self._doubted and state.acked == self._sent_counter
        self._sent_counter, self._sent_at_s, self._fresh, self._doubted = state.counter, now_s, False, False
        metrics = Metrics(state.epoch, state.counter, learner.served_sums, learner.frozen_sums)
        sends = [Send(Kind.METRICS, metrics.encode())]
        statistics = learner.trainer.statistics
        if statistics is None:
            return sends
        self._awaiting, self._reports = True, self._reports + 1
        counted = baseline.rest_of(statistics)
        report = StatisticsReport(self.device, state.epoch, state.counter, counted, state.history)
        self._sent = report
        change = self._change(report) if in_order else None
        if change is not None:
            return [*sends, Send(Kind.STATISTICS, change, retained=False)]
        payload = report.encode(predict=self._predict)
        self._whole_bytes, self._changes = len(payload), 0
        if len(payload) > REPORT_BYTES_MAX:
            self._unsendable_bytes = len(payload)
        elif len(payload) > MESSAGE_BYTES_MAX:
            self._upload = PartsUpload(report, payload, now_s)
            sends += self._parts(self._upload, now_s)
        else:
            sends.append(Send(Kind.STATISTICS, payload))
        return sends

    def reconnected(self, session_present: bool) -> None:
        """A fresh connection: what was in flight may be lost, and without the session what was acknowledged too."""
        self._fresh = True
        self._doubted |= not session_present
        if self._upload is not None:
            self._upload.reconnected()

    def hurry(self) -> None:
        """Send at once, acknowledged or not, as soon as the aggregator's pace allows it."""
        self._fresh = self._doubted = True

    def acknowledged(self, ack: Ack, acked: int, refusal_pause_s: float = 0.0) -> None:
        """The aggregator has answered. acked: the counter it had acknowledged before."""
        self.pace_s, self.refusal_pause_s = ack.pace_s, refusal_pause_s
        if self._acked_before < 0:
            self._acked_before = acked  # an ack that came before this run had looked at anything
        # each part of a long report is answered; the report is once all of it is stored
        self._awaiting = self._awaiting and ack.counter < self._sent_counter
        # an old ack that was late looks the same; then whole statistics go out once too often
        self._doubted |= ack.counter < acked
        if self._sent is not None and (self._sent.epoch, self._sent.counter) == (ack.epoch, ack.counter):
            self._stored = self._sent
        if self._upload is not None:
            self._upload.acknowledged(ack)
            # it was whole, and all that there was doubt about
            self._doubted = self._doubted and not (self._upload.taken and ack.counter >= acked)

    def refused(self, pause_s: float) -> None:
        """The aggregator does not take what was reported."""
        self._refused, self.refusal_pause_s = True, pause_s
        # a refusal is an answer: what goes out again would otherwise be packed as before, for want of one
        self._awaiting = False
        self._pack_otherwise()

    def _pack_otherwise(self) -> None:
        """What is not answered, or refused, may come from a release that the aggregator's does not know: where it never
        heard of the newer packing, the older one is taken from now on."""
        self._predict = not self._predict

    def restart(self) -> None:
        """The numbers are new: nothing was sent under them."""
        self._sent_counter = self._asked_with = -1
        self._asked = self._acked_before = self._told_again = self._told_again_times = 0
        self._sent = self._stored = None

    def _change(self, report: StatisticsReport) -> bytes | None:
        """What was learned since the stored report, where that is shorter than half of whole statistics.

        With `whole_bytes_max` 0 wherever it can be sent like this.
        """
        stored = self._stored
        if stored is None or self._whole_bytes <= self.settings.whole_bytes_max or self._changes >= CHANGES_MAX:
            return None
        change = change_between(stored, report) if stored.epoch == report.epoch else None
        if change is None:
            return None
        try:
            payload = change.encode(self._predict)
        except LocalError:
            return None  # too wide or too odd for a change; whole statistics take everything
        if 2 * len(payload) >= self._whole_bytes and self.settings.whole_bytes_max:
            return None
        self._changes += 1
        return payload

    def _is_to_be_told_again(self, state: SyncState, now_s: float) -> bool:
        """Whether what is acknowledged was told once only, by a run that is over or long ago: the ack may be forged."""
        if state.confirmed >= state.counter or state.acked < state.counter:
            return False
        waits_s = TOLD_AGAIN_S
        if self._told_again == state.counter:
            # not answered: lost on its way, or the aggregator is not there; then twice as long each time
            waits_s = min(
                TOLD_AGAIN_S, self.settings.ack_timeout_s * 2 ** min(self._told_again_times - 1, DOUBLINGS_MAX)
            )
        return self._sent_counter != state.counter or now_s - self._sent_at_s >= waits_s

    def _time_has_come(self, state: SyncState, acked: int, now_s: float) -> bool:
        waited_s = now_s - self._sent_at_s
        settled = acked >= state.counter and not (self._doubted and state.counter)
        if settled or waited_s < max(self.pace_s, self.refusal_pause_s):
            return False
        if self._fresh:
            return True
        unanswered = self._sent_counter == state.counter and waited_s < self.settings.ack_timeout_s
        return waited_s >= self.settings.interval_s and not unanswered

    def _parts(self, upload: PartsUpload, now_s: float) -> list[Send]:
        parts = upload.due(now_s, self.settings.ack_timeout_s)
        return [Send(Kind.STATISTICS, part, retained=False) for part in parts]


class PartsUpload:
    """One report on its way. It stays the same until it is whole, however much is learned meanwhile."""

    def __init__(self, report: StatisticsReport, payload: bytes, now_s: float) -> None:
        # whether the aggregator has it, or has it by another way
        self.taken = False
        self.epoch, self.counter = report.epoch, report.counter
        self._parts = split_report(report, payload)
        self._stored = self._sent = 0
        self._answered_s = now_s
        self._pausing = False

    def due(self, now_s: float, ack_timeout_s: float) -> list[bytes]:
        """Parts to send now."""
        if self._pausing:
            self._pausing, self._answered_s = False, now_s
        if now_s - self._answered_s >= ack_timeout_s:
            self._sent, self._answered_s = self._stored, now_s
        upto = min(self._stored + WINDOW_PARTS, len(self._parts))
        parts, self._sent = self._parts[self._sent : upto], max(self._sent, upto)
        return parts

    def acknowledged(self, ack: Ack) -> None:
        """The aggregator has answered with how many parts it has stored."""
        self.taken = ack.counter >= self.counter and not ack.parts
        if ack.part_counter == self.counter and self._stored < ack.parts <= len(self._parts):
            self._stored, self._sent = ack.parts, max(self._sent, ack.parts)
        elif self._stored and (ack.part_counter, ack.parts) == (0, 0):
            # put together and refused, or lost: from the start, but not at once
            self._stored, self._sent, self._pausing = 0, len(self._parts), True

    def reconnected(self) -> None:
        """What was in flight may be lost."""
        self._sent = self._stored
