"""The agent's core: one readable loop, and every decision. No clock, disk, socket or runtime of its own.

Events go in, effects come out, in the order in which the loop (loop.py) must carry them out:
what must be durable is committed before anything that depends on it is said to anybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge_agent.config import SyncSettings
from edge_agent.effects import Answer, LabelCounts, Send
from edge_agent.labels import EventLog, Labelling, RememberedWindows, Window, unlabelled
from edge_agent.learner import Learner, Prediction
from edge_agent.learner.gradient import GradientTrainer
from edge_agent.pipeline import Features
from edge_agent.store import Changes, Checkpointer, ClassAdded, ClassesChanged, Corrected, Guessed, OutboxRow, Taught
from edge_agent.sync import Baseline, Downlink, ErrorFeedback, Outbox, RunStart, SyncState, Uplink
from headway.arrays import AnyArray, Float32
from headway.class_changes import ClassChanges
from headway.errors import RemoteError
from headway.maths import predicted
from headway.samples import UNLABELLED, Label, class_index, is_labelled, no_label, row_label
from headway.wire import Ack, Event, Update

EPOCH_BITS = 48
SEQUENCE_MAX = 2**53
# epochs that acks may make one run begin: forged ones must not use up what an aggregator allows a device
FORKS_MAX = 4


@dataclass(slots=True)
class Agent:
    """One device. `sync_state` and the learner are what a commit saves."""

    device: str
    learner: Learner
    settings: SyncSettings
    sync_state: SyncState
    _pending: list[OutboxRow] = field(default_factory=list)
    windows: RememberedWindows = field(default_factory=lambda: RememberedWindows(0))
    _checkpointer: Checkpointer = field(default_factory=Checkpointer)
    # this run of the program: its number, saved once it speaks, and where it began
    run_id: int = 0
    _run_start: RunStart = field(default_factory=RunStart)
    _baseline: Baseline | None = None
    _baseline_changed: bool = False
    forked: str = ""
    removed: str = ""
    _forks: int = 0
    _feedback: ErrorFeedback = field(default_factory=ErrorFeedback)
    # gives that many random bits, for new epochs
    draw: Callable[[int], int] = secrets.randbits
    outbox: Outbox = field(init=False)
    uplink: Uplink = field(init=False)
    event_log: EventLog = field(init=False)
    labelling: Labelling = field(init=False)
    downlink: Downlink = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.settings.ack_timeout_s)
        self.uplink = Uplink(self.device, self.settings)
        self.event_log = EventLog(self.learner, self.windows)
        self.downlink = Downlink(self.learner, self._checkpointer)
        self.labelling = Labelling(self.learner, self.windows, self._learn, self._correct, self._guess)

    def process(self, features: Features, labels: AnyArray | None, ids: Sequence[str] | None = None) -> Answer:
        """The loop: predict -> (label) -> score -> learn -> gate -> serve, window by window.

        labels: int64 (n,), -1 where there is none, or targets float32 (n, C), NaN where one is unknown; None without
        any. ids: names under which labels may come later; a window that comes again counts once, with its newest label.
        Commit afterwards.
        """
        self.event_log.see(features)
        count = len(features)
        probabilities: list[Float32] = []
        sources: list[str] = []
        start = 0
        while start < count:
            stop = _next_labelled(labels, start, count)
            window = features.rows(start, stop)
            served = self.learner.predict(window)
            probabilities.append(served.probability)
            sources += [served.source] * (stop - start)
            label = UNLABELLED if labels is None else row_label(labels, start)
            if ids is not None:
                if not no_label(label):
                    self.labelling.take_back(ids[start], window)
                remember = self.labelling.remember if no_label(label) else self.windows.add
                for row in range(stop - start):
                    remember(ids[start + row], unlabelled(window, served.probability, served.source, row))
            if not no_label(label):
                window_id = "" if ids is None else ids[start]
                number = self.labelling.teach(window_id, window, label, served)
                if ids is not None:
                    self.windows.relabel(window_id, label, number)
            start = stop
        probability = np.concatenate(probabilities)
        return Answer(predicted(probability, self.learner.task), probability, np.array(sources))

    def label(self, ids: Sequence[str], labels: AnyArray) -> LabelCounts:
        """Labels for windows seen earlier, as `Labelling.label`. Commit afterwards."""
        return self.labelling.label(ids, labels)

    def add_class(self, name: str) -> None:
        """A class that the bundle does not know; nothing happens when it is known already. Commit afterwards."""
        if name not in self.learner.classes or name in self.learner.removed:
            self.learner.add_class(name)
            self._checkpointer.note(ClassAdded(name))

    def change_classes(self, changes: ClassChanges) -> None:
        """Rename, add or remove classes by name. Raises DataError, and then nothing has changed. Commit afterwards."""
        renames = self.learner.change_classes(changes)
        self._checkpointer.note(ClassesChanged(changes))
        if renames and self._baseline is not None:
            self._baseline, self._baseline_changed = self._baseline.renamed(renames), True
        if renames and self._run_start.tables is not None:
            self._run_start = replace(self._run_start, tables=self._run_start.tables.renamed(renames))
        self.sync_state.counter += 1  # so that the fleet hears the names

    def changes(self, consumed: int | None = None) -> Changes:
        """The transaction that makes everything since the last one durable: a journal entry, or now and then a whole
        checkpoint, which takes the place of all entries so far.

        consumed: sequence of the spool file whose rows are now learned.
        """
        if consumed is not None:
            self.sync_state.consumed = consumed
        outbox, self._pending = tuple(self._pending), []
        windows, gone = self.windows.take_changes()
        state, dropped = self.labelling.queue.take_changes()
        if self._baseline_changed and self._baseline is not None:
            state["baseline"], self._baseline_changed = self._baseline.encode(), False
        state |= self._feedback.take_changes()
        changes = Changes(state, outbox, windows=windows, forgotten=gone, dropped=dropped)
        changes = self._checkpointer.record(changes, self.learner, self.sync_state.encode())
        return replace(changes, state=changes.state | self.event_log.changes(checkpoint=changes.checkpoint))

    def checkpoint(self) -> Changes:
        """Like `changes`, with the whole state."""
        self._checkpointer.demand_checkpoint()
        return self.changes()

    def everything(self) -> Changes:
        """All that an empty store must hold to go on here, but for the updates that wait."""
        self._checkpointer.demand_everything()
        self._baseline_changed = self._baseline is not None
        changes = replace(self.changes(), windows=dict(self.windows.all()))
        state = self._feedback.take_changes(everything=True) | self.labelling.queue.take_changes(everything=True)[0]
        state |= self.event_log.changes(checkpoint=True, everything=True)
        return replace(changes, state=changes.state | state)

    def resumed(self, saved: Mapping[str, bytes], pieces: frozenset[str], journalled: int) -> None:
        """The learner was restored from what a store holds: these pieces among it, and a journal of that length."""
        self._checkpointer.resume(pieces, journalled)
        self._baseline = Baseline.decode(saved["baseline"]) if "baseline" in saved else None
        self.event_log.restore(saved)
        self.labelling.queue.restore(saved)
        if "residual" in saved:
            self._feedback.restore(saved["residual"])
        trainer = self.learner.trainer
        tables = None if isinstance(trainer, GradientTrainer) else trainer.local
        self._run_start = RunStart(self.sync_state.counter, trainer.labels, tables)

    def fork(self, reason: str, epoch: int) -> Changes:
        """Begin a new epoch, because another past of this device has used the old one's numbers. Commit at once.

        What was learned before this run began may be counted already and is left out; so are updates that wait.
        """
        self.forked = f"{reason}; was it cloned, or restored from an older backup? A new epoch begins"
        return self._new_epoch(epoch)

    def begin_anew(self, epoch: int) -> Changes:
        """Begin a new epoch, because the old one was removed on request: all that is known here stays here, and only
        what is learned from now on is told. Commit at once."""
        state, trainer = self.sync_state, self.learner.trainer
        tables = None if isinstance(trainer, GradientTrainer) else trainer.local
        if isinstance(trainer, GradientTrainer):
            trainer.take_update()  # what was about to be told
            self._checkpointer.demand_checkpoint()
        self._run_start = RunStart(state.counter, trainer.labels, tables)
        self.removed = (
            f"what this device had told under epoch {state.epoch} was removed from the fleet on request; it keeps what "
            "it learned, and tells only what it learns from now on, under a new epoch"
        )
        return self._new_epoch(epoch)

    def _new_epoch(self, epoch: int) -> Changes:
        state, run_start = self.sync_state, self._run_start
        state.epoch, state.before = epoch, run_start.labels
        state.counter = max(0, state.counter - run_start.counter)
        state.acked = state.sequence = 0
        state.earlier_runs = state.run_ends = ()
        self._run_start = replace(run_start, counter=0)
        self._pending.clear()
        self.uplink.restart()
        self.outbox.restart()
        if run_start.tables is not None:
            self._baseline, self._baseline_changed = Baseline(run_start.tables), True
        return replace(self.changes(), acknowledged=SEQUENCE_MAX)

    def due(self, now_s: float, connected: bool) -> list[Send]:
        """What to send now, but for the updates that wait in the outbox."""
        return self.uplink.due(self.sync_state, self.learner, self._baseline, now_s, connected)

    def reconnected(self, session_present: bool = True) -> Changes | None:
        """A fresh connection: whatever was in flight may be lost, so send again at once.

        session_present: False where the broker has lost this device's session, and maybe what it retained; then the
        acknowledged tables go out once more, for an aggregator that rebuilds from them.

        Returns the transaction to commit before anything is sent: that this run speaks.
        """
        self.uplink.reconnected(session_present)
        self.downlink.reconnected()
        self.outbox.restart()
        if self.sync_state.run_id == self.run_id:
            return None
        self.sync_state.begin_run(self.run_id, self._run_start.counter)
        return self.changes()

    def acknowledged(self, payload: bytes) -> Changes | None:
        """The aggregator has stored something durably. Returns the transaction that forgets it, if any."""
        ack, state = Ack.decode(payload), self.sync_state
        if ack.epoch != state.epoch:
            return None
        contradiction = state.contradiction(ack)
        if contradiction is not None or ack.removed:
            if self._forks >= FORKS_MAX:
                problem = contradiction or "an ack tells that this epoch was removed"
                raise RemoteError(f"{problem}; this run has begun {self._forks} epochs already, so it is not believed")
            self._forks += 1
            epoch = self.draw(EPOCH_BITS)
            return self.begin_anew(epoch) if contradiction is None else self.fork(contradiction, epoch)
        self.uplink.acknowledged(ack, state.acked)
        self.outbox.pace_s = ack.pace_s
        news = ack.counter > state.acked
        state.acked = max(state.acked, ack.counter)
        if not news and not ack.sequence:
            return None
        self.outbox.acknowledged(ack.sequence)
        return replace(self.changes(), acknowledged=ack.sequence or None)

    def take_events(self, wall_s: float) -> list[Event]:
        """What happened since the last call that people should know."""
        return self.event_log.take_events(wall_s)

    def _guess(self, features: Features, label: int, withdrawn: bool) -> None:
        (self.learner.withdraw if withdrawn else self.learner.guess)(features, label)
        self._checkpointer.note(Guessed(features, label, withdrawn))

    def _correct(self, window: Window, label: Label) -> None:
        """A learned label is another one, or none."""
        after = None if no_label(label) else label
        self.learner.correct(window.number, window.features, window.label, after)
        self._checkpointer.note(Corrected(window.features, window.number, window.label, label))
        if self._baseline is not None and window.number < self.sync_state.before:
            index = None if after is None else class_index(after)
            self._baseline = self._baseline.corrected(window.codes, class_index(window.label), index)
            self._baseline_changed = True
        self.sync_state.counter += 1

    def _learn(self, window: Features, label: Label, served: Prediction) -> int:
        number = self.learner.learn(window, label, served)
        self.sync_state.counter += 1
        self._checkpointer.note(Taught(window, label, served, queued=self._queue_update()))
        return number

    def _queue_update(self) -> bool:
        """Put a finished update into the outbox; True when there was one."""
        trainer = self.learner.trainer
        if not self.outbox.has_room(len(self.learner.classes), self.learner.feature_size):
            return False  # the delta goes on growing in the trainer: waiting updates merge instead of piling up
        update = trainer.take_update() if isinstance(trainer, GradientTrainer) else None
        if update is None:
            return False
        state, precision = self.sync_state, self.settings.update_precision
        state.sequence += 1
        message = Update(
            self.device,
            state.epoch,
            state.sequence,
            update.base_version,
            update.samples,
            self.learner.space,
            self.learner.names.wire_names,
            self._feedback.added(update.delta, precision),
            state.run_id or self.run_id,
            precision,
        )
        row = OutboxRow(state.sequence, message.encode())
        self._pending.append(row)
        self.outbox.added(row)
        return True


def _next_labelled(labels: AnyArray | None, start: int, count: int) -> int:
    """End of the run that one head can serve: a labelled row alone, or all rows up to the next labelled one."""
    if labels is None:
        return count
    if not no_label(row_label(labels, start)):
        return start + 1
    later = np.flatnonzero(is_labelled(labels[start:]))
    return start + int(later[0]) if len(later) else count
