"""Decides under which epoch what the device learned is counted, and where a new epoch begins.

one epoch after another -> what older ones may have counted is the baseline, taken off every report
a branch is left        -> the old epoch keeps what both branches hold, the new one counts from where they part
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from edge_agent.learner import COUNTED, CorrectLabel, HeadLearner, Operation
from edge_agent.store import Entry, Persisted
from edge_agent.sync.history import Baseline, SyncState
from edge_agent.sync.older_epochs import OlderEpochs
from edge_agent.sync.past import Moment, Past
from headway.wire import DRAWN_BITS, StatisticsReport, numbered_epoch


class Epochs:
    """One device's. run_id: of this run of the program; ack_timeout_s: when a report without an answer is repeated."""

    def __init__(self, device: str, learner: HeadLearner, state: SyncState, run_id: int, ack_timeout_s: float) -> None:
        self._device, self._learner, self._run_id = device, learner, run_id
        self.state = state
        self.baseline, self._past = Baseline(learner.row_of), Past(learner.row_of)
        self.older = OlderEpochs(ack_timeout_s)
        self.persisted: tuple[Persisted, ...] = (self.baseline, self._past, self.older)

    @property
    def exact(self) -> bool:
        """Whether the learner has statistics, which tell what is counted; else updates do."""
        return self._learner.kind == "exact"

    @property
    def acknowledged(self) -> tuple[int, int]:
        """Epoch and counter whose statistics are acknowledged; a store behind them is an older copy."""
        return self.state.epoch, self.state.acked if self.exact else 0

    @property
    def ends_update(self) -> bool:
        """Whether another run of the program has begun an update, and this one has not changed anything yet."""
        begun = self._learner.trainer.unfinished > 0 and self.state.queued >= 0
        return begun and self.state.run_id not in (0, self._run_id)

    def begin_run(self) -> None:
        """Statistics, or the names in them, are about to change; the first time a run of the program begins here."""
        if self.state.run_id == self._run_id:
            return
        now = self._now()
        if now is not None:
            self._past.mark(now)
        self.state.begin_run(self._run_id)

    def count(self, operation: Operation, renames: Sequence[tuple[str, str]]) -> None:
        """An operation has changed them. renames: classes (old, new) that have other names now."""
        self.begin_run()  # other names are no other sums: it is not too late
        if isinstance(operation, CorrectLabel) and operation.number < self.state.before:
            names = self._learner.names.wire_names
            self.baseline.correct(operation.features.codes, operation.before, operation.after, names)
        if renames:
            self.baseline.rename(renames)
            self._past.rename(renames)
        self.state.count()
        if self.exact:
            self._past.follow(operation, self.state.position)

    def restore(self, state: SyncState, saved: Mapping[str, bytes], newest: Iterable[Entry]) -> None:
        """Go on from what was saved. newest: entries of the journal, those kept from before the last checkpoint too."""
        self.state = state
        for part in self.persisted:
            part.restore(saved)
        if self.exact:
            counted = (
                (SyncState.decode(entry.sync).position, [op for op in entry.operations if isinstance(op, COUNTED)])
                for entry in newest
            )
            self._past.resume(counted, state.position)

    def leave(self, counter: int | None) -> int:
        """Begin a new epoch where another branch of the history parts from this one: at `counter`, None for now, or at
        the first moment since then whose statistics are known. Returns how many changes that leaves out;
        at most so many, where it is not known where the branches part."""
        state, now = self.state, self._now()
        if now is None:
            # of updates that go over to the new epoch the numbers go on
            at, sequence = (state.counter, 0) if counter is None else (counter, state.sequence)
            state.begin_epoch(state.epoch_from(at, self._run_id), at, self._learner.labels, sequence)
            return 0
        parted = state.position if counter is None else state.base + counter
        moment, known = self._past.at(parted, now), self.baseline.statistics
        if parted == state.base < moment.position:
            # the branches part where this epoch began, and it has counted from there all along
            state.begin_epoch(state.epoch_from(0, self._run_id), 0, state.before)
            return 0
        counted = moment.statistics
        if known is not None:
            counted = counted - (known - self._past.corrections(moment, state.before))
        at = moment.position - state.base
        self.older.add(StatisticsReport(self._device, state.epoch, at, counted, state.history_at(at)))
        self.baseline.begin(moment.statistics + self._past.corrections(moment, moment.labels))
        unknown = max(0, state.counter - state.acked) if counter is None else moment.position - parted
        state.begin_epoch(state.epoch_from(at, self._run_id), at, moment.labels)
        return unknown

    def begin_anew(self, draw: Callable[[int], int]) -> str:
        """Begin a new epoch here and now; the aggregator has removed all that came before. draw: random bits.

        Returns what people should know of it.
        """
        state, now = self.state, self._now()
        epoch = state.epoch
        if not self.exact:
            self._learner.trainer.take_update()  # what was about to be sent
        if now is not None:
            report = StatisticsReport(self._device, state.epoch, state.counter, now.statistics, state.history)
            self.older.remove(report)
            self.baseline.begin(now.statistics)
        # the old epoch's empty tables take one counter more
        state.skip_counter()
        state.begin_epoch(numbered_epoch(draw(DRAWN_BITS), state.position), state.counter, self._learner.labels)
        return (
            f"what this device had told under epoch {epoch} was removed from the fleet on request; it keeps what "
            "it learned, and tells only what it learns from now on, under a new epoch"
        )

    def _now(self) -> Moment | None:
        statistics = self._learner.trainer.statistics
        return None if statistics is None else Moment(self.state.position, self._learner.trainer.labels, statistics)
