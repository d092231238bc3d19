"""When the exact learner's tables and the metrics go out, and how: whole, or in parts.

Tables are cumulative, so only the newest matter, until the aggregator has acknowledged them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.config import SyncSettings
from edge_agent.effects import Send
from edge_agent.history import Baseline, SyncState
from edge_agent.learner.gradient import GradientTrainer
from edge_agent.learner.serving import Learner
from edge_agent.upload import Upload
from headway.messages import MESSAGE_BYTES_MAX, REPORT_BYTES_MAX, Ack, Metrics, StatisticsReport
from headway.topics import Kind

NEVER_S = -1e9


@dataclass(slots=True)
class Reporting:
    """One device's reports. unsendable_bytes: length of a report too long even for parts; whoever tells it sets 0.

    pace_s: the pause the aggregator asks for. It holds over connections; `interval_s` does not, because what was in
    flight when one broke may be lost.
    """

    device: str
    settings: SyncSettings
    pace_s: float = 0.0
    unsendable_bytes: int = 0
    _sent_counter: int = -1
    _sent_at_s: float = NEVER_S
    _fresh: bool = True
    _doubted: bool = False
    _upload: Upload | None = None

    def due(
        self, state: SyncState, learner: Learner, baseline: Baseline | None, now_s: float, connected: bool
    ) -> list[Send]:
        """What to send now."""
        if not connected:
            return []
        if self._upload is not None:
            if state.acked < self._upload.counter and self._upload.epoch == state.epoch:
                return self._parts(self._upload, now_s)
            self._upload = None
        if not self._time_has_come(state, now_s):
            return []
        self._sent_counter, self._sent_at_s, self._fresh, self._doubted = state.counter, now_s, False, False
        metrics = Metrics(state.epoch, state.counter, learner.served_sums, learner.frozen_sums)
        sends = [Send(Kind.METRICS, metrics.encode())]
        if isinstance(learner.trainer, GradientTrainer):
            return sends
        local = learner.trainer.local
        counted = local if baseline is None else baseline.rest_of(local)
        report = StatisticsReport(self.device, state.epoch, state.counter, counted, state.history)
        payload = report.encode()
        if len(payload) > REPORT_BYTES_MAX:
            self.unsendable_bytes = len(payload)
        elif len(payload) > MESSAGE_BYTES_MAX:
            self._upload = Upload(report, payload, now_s)
            sends += self._parts(self._upload, now_s)
        else:
            sends.append(Send(Kind.STATISTICS, payload))
        return sends

    def reconnected(self, session_present: bool) -> None:
        """A fresh connection: what was in flight may be lost, and without the session what was acknowledged too."""
        self._fresh = True
        self._doubted |= not session_present
        if self._upload is not None:
            self._upload.again()

    def acknowledged(self, ack: Ack) -> None:
        """The aggregator has answered."""
        self.pace_s = ack.pace_s
        if self._upload is not None:
            self._upload.heard(ack)

    def restart(self) -> None:
        """The numbers are new: nothing was sent under them."""
        self._sent_counter = -1

    def _time_has_come(self, state: SyncState, now_s: float) -> bool:
        waited_s = now_s - self._sent_at_s
        settled = state.acked >= state.counter and not (self._doubted and state.counter)
        if settled or waited_s < self.pace_s:
            return False
        if self._fresh:
            return True
        unanswered = self._sent_counter == state.counter and waited_s < self.settings.ack_timeout_s
        return waited_s >= self.settings.interval_s and not unanswered

    def _parts(self, upload: Upload, now_s: float) -> list[Send]:
        parts = upload.due(now_s, self.settings.ack_timeout_s)
        return [Send(Kind.STATISTICS, part, retained=False) for part in parts]
