"""Makes one device's decisions: predict, score, learn, gate, and what is sent to the fleet. Does no I/O.

Events go in, effects come out, in the order in which the loop (loop.py) must carry them out:
what must be durable is committed before anything that depends on it is sent to anybody.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from edge_agent.config import SyncSettings
from edge_agent.effects import Answer, LabelCounts, Send
from edge_agent.labels import UNBOUNDED, EventLog, Labelling, RememberedWindows, rows_in_turn
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from edge_agent.learner import (
    COUNTED,
    AddClass,
    AdoptHead,
    AdoptPrior,
    ChangeClasses,
    CorrectLabel,
    EndUpdate,
    HeadLearner,
    LearnLabel,
    Operation,
    Prediction,
)
from edge_agent.persistence import persistence_of
from edge_agent.pipeline import Features
from edge_agent.store import Changes, Checkpointer, Entry, Extent, Persisted
from edge_agent.sync import ALL_ROWS, Branches, CommandLog, Downlink, Epochs, Outbox, Refusal, SyncState, Uplink
from edge_agent.trial import HeadTrial, Trial
from edge_agent.trial_settings import TrialSettings
from headway.arrays import AnyArray
from headway.class_changes import ClassChanges
from headway.errors import RemoteError
from headway.samples import row_label
from headway.wire import Ack, Event

# epochs that acks may make one run begin: forged ones must not use up what an aggregator allows a device
FORKS_MAX = 4


class Agent:
    """One device, from the features of its windows to what a commit saves and a message carries.

    windows: those that labels may still come for; none by default. waiting_rows_max, waiting_bytes_max: labels that may
    wait for their turn, in number and encoded size; early_labels_max: for their windows. run_id: of this run of the
    program, saved once it learns. asking: how people are asked. draw: gives that many random bits, for new epochs.
    """

    def __init__(
        self,
        device: str,
        learner: HeadLearner,
        settings: SyncSettings,
        sync_state: SyncState,
        *,
        windows: RememberedWindows | None = None,
        waiting_rows_max: int = UNBOUNDED,
        waiting_bytes_max: int = UNBOUNDED,
        early_labels_max: int = 0,
        run_id: int = 0,
        trial: TrialSettings | None = None,
        asking: LabelsWantedSettings | None = None,
        draw: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self.device, self.learner, self.settings = device, learner, settings
        self.windows = RememberedWindows(0) if windows is None else windows
        self.outbox = Outbox(device, settings)
        self.uplink = Uplink(device, settings)
        self.refusal = Refusal(settings.ack_timeout_s)
        self.downlink = Downlink(learner)
        self.persistence = persistence_of(learner.task, learner.settings.persistence)
        self.labelling = Labelling(learner, self.windows, waiting_rows_max, waiting_bytes_max, early_labels_max, asking)
        self.event_log, self.command_log = EventLog(learner, self.windows, self.labelling.wanted.choice), CommandLog()
        self.epochs = Epochs(device, learner, sync_state, run_id, settings.ack_timeout_s)
        self.branches = Branches(self.epochs, self.outbox, self.uplink, learner.trainer)
        trial = trial or TrialSettings()
        self.trial, self.head_trial = Trial(learner, trial), HeadTrial(learner, trial)
        told = self.outbox.feedback, self.event_log, self.command_log, self.downlink, self.trial, self.head_trial
        self._persisted: tuple[Persisted, ...] = (*self.labelling.persisted, *told)
        self._checkpointer = Checkpointer()
        self._draw, self._forks = draw, 0
        self.forked = self.removed = ""

    @property
    def sync_state(self) -> SyncState:
        """Where the device stands with the aggregator."""
        return self.epochs.state

    def process(
        self,
        features: Features,
        labels: AnyArray | None,
        ids: Sequence[str] | None = None,
        *,
        until: Callable[[], bool] | None = None,
    ) -> Answer:
        """Windows in time order: predict -> score -> learn -> gate, or labels wait. Commit afterwards.

        labels: int64 (n,), -1 where there is none, or targets float32 (n, C), NaN where one is unknown; None without
        any. ids: names under which labels may come later; a window that comes again counts once, with its newest label.
        until: asked after each labelled window; when it is true the others are left, and the answer is of fewer rows.
        """
        answers: list[Prediction] = []
        done = 0
        for rows, label in rows_in_turn(labels, len(features)):
            part = features.rows(rows.start, rows.stop)
            served = self.learner.predict(part)
            # what is learned, scored and journalled is the head's own answer: persistence forgets with every restart
            answers.append(self.persistence.serve(part, served))
            # scores every head on a label, learns it, and lets the gate choose the head; or the label waits
            self._change_all(self.labelling.take(part, label, None if ids is None else ids[rows], served))
            done = rows.stop
            if until is not None and until():
                break
        self.event_log.see(features.rows(0, done))
        return Answer.of(answers, self.learner.task)

    def label(self, ids: Sequence[str], labels: AnyArray, counts: LabelCounts | None = None) -> LabelCounts:
        """Labels for windows seen earlier: late, in any order, repeated, corrected or taken back. Commit afterwards.

        labels: int64 (n,), -1 for none, or targets float32 (n, C), NaN where unknown; no label takes the earlier one
        back. A label for a window that is no longer remembered is counted as unknown. counts: goes on from these.
        """
        counts = counts or LabelCounts()
        for row, window_id in enumerate(ids):
            self._change_all(self.labelling.take_late(window_id, row_label(labels, row), counts))
        return counts

    def learn_waiting(self, count: int) -> int:
        """Learn at most `count` of the labels that wait, the oldest first; returns how many. Commit afterwards."""
        before = self.learner.trainer.labels
        self._change_all(self.labelling.learn_waiting(count))
        return self.learner.trainer.labels - before

    def add_class(self, name: str) -> None:
        """A class that the bundle does not know; nothing happens when it is known already. Commit afterwards."""
        if name not in self.learner.classes or name in self.learner.removed:
            self._change_all(chain(self.labelling.learn_held(), [AddClass(name)]))

    def change_classes(self, changes: ClassChanges) -> None:
        """Rename, add or remove classes by name. Raises DataError, and then nothing has changed. Commit afterwards."""
        self._change_all(chain(self.labelling.learn_held(), [ChangeClasses(changes)]))

    def head_published(self, payload: bytes, retained: bool = False) -> bool:
        """The fleet has published a head; True when it is taken up, and then commit. Raises RemoteError.

        retained: the broker gave it on our subscription, see `HeadLearner.adopt`.
        """
        if self.downlink.has_seen(payload, retained):
            return False
        changed = self._change(AdoptHead(payload, retained))
        self.downlink.saw(payload, retained)
        return changed

    def prior_received(self, payload: bytes) -> bool:
        """What other devices learned; True when it was taken up, and then commit. Raises RemoteError."""
        return self._change(AdoptPrior(payload))

    def _change_all(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            self._change(operation)

    def _change(self, operation: Operation) -> bool:
        """Change the learner, and whatever must follow: journal, counter, outbox. False when nothing changed."""
        if isinstance(operation, (LearnLabel, CorrectLabel)):
            self._begin_run()
        if isinstance(operation, LearnLabel) and self.learner.trainer.finishes_update and self._has_room:
            operation = replace(operation, takes_update=True)
        self.head_trial.watch(operation)
        applied = self.trial.beside(operation)
        if not applied.changed:
            return False
        self._checkpointer.note(operation)
        if isinstance(operation, LearnLabel):
            self.persistence.labelled(operation.features, operation.label)
        if isinstance(operation, COUNTED):
            self.epochs.count(operation, applied.renames)
        if applied.update is not None:
            space, names = self.learner.space, self.learner.names.wire_names
            self.outbox.queue(applied.update, self.sync_state, space, names)
        return True

    def _begin_run(self) -> None:
        """The learner is about to change. Each run begins an update of its own, as the disk may have been copied."""
        if self.epochs.ends_update and self._has_room:
            self._change(EndUpdate())
        self.epochs.begin_run()

    def changes(self) -> Changes:
        """Makes everything since the last one durable: a journal entry, or now and then a whole checkpoint in place of
        all entries so far."""
        return self._take_changes(Extent.CHECKPOINT if self._checkpointer.checkpoint_due else Extent.CHANGES)

    def consumed(self, sequence: int) -> None:
        """All rows of a spool file are learned; the next commit says so."""
        self.sync_state.consume(sequence)

    def consumed_rows(self, sequence: int, rows: int) -> None:
        """The first rows of a spool file are learned; the next commit says so."""
        self.sync_state.consume_rows(sequence, rows)

    def checkpoint(self) -> Changes:
        """Like `changes`, with the whole state."""
        self._checkpointer.demand_checkpoint()
        return self.changes()

    def everything(self) -> Changes:
        """All that an empty store must hold to go on here, but for the updates that wait."""
        self._checkpointer.demand_everything()
        return replace(self._take_changes(Extent.EVERYTHING), windows=dict(self.windows.all()))

    def _take_changes(self, extent: Extent) -> Changes:
        state: dict[str, bytes] = {}
        dropped: tuple[str, ...] = ()
        for part in (*self.epochs.persisted, *self._persisted):
            saved = part.take_changes(extent)
            state, dropped = state | saved.state, dropped + saved.dropped
        windows, forgotten = self.windows.take_changes()
        changes = Changes(state, self.outbox.take_rows(), windows=windows, forgotten=forgotten, dropped=dropped)
        return self._checkpointer.record(changes, self.learner, self.sync_state.encode())

    def restore(
        self,
        sync_state: SyncState,
        saved: Mapping[str, bytes],
        pieces: frozenset[str] = frozenset(),
        journalled: int = 0,
        newest: Sequence[Entry] = (),
    ) -> None:
        """The learner was restored from a store; go on from everything else that it holds. Raises StoreError.

        saved: its named values; pieces: those that are of the learner; journalled: entries in its journal; newest:
        those and the ones kept from before the last checkpoint, oldest first.
        """
        self._checkpointer.resume(pieces, journalled)
        self.forked = sync_state.notice
        self.epochs.restore(sync_state, saved, newest)
        for part in self._persisted:
            part.restore(saved)

    def fork(self, reason: str, counter: int | None = None) -> Changes:
        """Begin a new epoch, because another branch of this device's history uses the old one's numbers. Commit it.

        counter: where the two part; None for here and now. What was learned before is left to the old epoch; so are
        updates that wait, but for those that hold nothing from before.
        """
        left = self.branches.leave(counter)
        problem = f"{reason}; was it copied, or restored from an older backup? A new epoch begins"
        self.forked = self.sync_state.note("; ".join(filter(None, (problem, left.words))))
        return self._enter_new_epoch(left.row)

    def begin_anew(self) -> Changes:
        """Begin a new epoch, because the old one was removed on request: all that is known here stays here, and only
        what is learned from now on is sent. Commit at once."""
        self.removed = self.epochs.begin_anew(self._draw)
        return self._enter_new_epoch(ALL_ROWS)

    def _enter_new_epoch(self, dropped: int) -> Changes:
        self.uplink.restart()
        self.outbox.begin_epoch(dropped)
        # the journal cannot tell of an epoch that ends, a checkpoint can
        self._checkpointer.demand_checkpoint()
        return replace(self.changes(), acknowledged=dropped or None)

    def take_notices(self) -> list[tuple[str, str]]:
        """Why new epochs began since the last call: an event's name, and a line for people."""
        notices = [("history-forked", self.forked), ("contribution-removed", self.removed)]
        self.forked = self.removed = ""
        return [(name, text) for name, text in notices if text]

    def due(self, now_s: float, connected: bool) -> list[Send]:
        """What to send now, but for the updates that wait in the outbox."""
        older = self.epochs.older.due(now_s) if connected else []
        if older:
            # the newest epoch's report comes last, so that the aggregator takes it for the newest
            self.uplink.doubt()
        return [*older, *self.uplink.due(self.sync_state, self.learner, self.epochs.baseline, now_s, connected)]

    def reconnected(self, session_present: bool = True) -> None:
        """A fresh connection: whatever was in flight may be lost, so send again at once.

        session_present: False where the broker has lost this device's session, and maybe what it retained; then the
        acknowledged statistics go out once more, for an aggregator that rebuilds from them.
        """
        self.uplink.reconnected(session_present)
        self.downlink.reconnected()
        self.outbox.restart()
        if not session_present:
            self.epochs.older.doubt()

    def acknowledged(self, payload: bytes) -> Changes | None:
        """The aggregator has stored something durably. Returns the transaction that forgets it, if any."""
        ack, state = Ack.decode(payload), self.sync_state
        if ack.refused:
            self._refused(ack)
            self.epochs.older.acknowledged(ack)
            return None
        if ack.epoch != state.epoch:
            self.epochs.older.acknowledged(ack)
            return None
        contradiction = self.branches.contradiction(ack)
        if contradiction is not None or ack.removed:
            return self._part(ack, contradiction)
        if ack.counter < state.acked or not self.uplink.awaiting:
            # the aggregator has started again: maybe without its store, or with an older one
            self.epochs.older.doubt()
        self.refusal.answered(ack)
        self.uplink.acknowledged(ack, state.acked, self.refusal.pause_s)
        self.outbox.set_pace(max(ack.pace_s, self.refusal.pause_s))
        newer = state.acknowledge(ack.counter, self.uplink.told_again)
        if not newer and not ack.sequence:
            return None
        # numbers of rows are no names: a copy may have ended an update elsewhere
        taken = self.outbox.taken(state.base + ack.counter) if ack.counter else ack.sequence
        taken = self.outbox.acknowledged(taken)
        return replace(self.changes(), acknowledged=taken or None)

    def _part(self, ack: Ack, contradiction: str | None) -> Changes | None:
        """An ack of this epoch is of another branch of this device's history, or tells that the epoch was removed."""
        if contradiction is not None and not self.branches.tells_where(ack):
            return None
        if self._forks >= FORKS_MAX:
            problem = contradiction or "an ack tells that this epoch was removed"
            raise RemoteError(f"{problem}; this run has begun {self._forks} epochs already, so it is not believed")
        self._forks += 1
        if contradiction is None:
            return self.begin_anew()
        return self.fork(contradiction, self.branches.parted_at(ack))

    def _refused(self, ack: Ack) -> None:
        """A report was refused: it goes out again, but not soon. Of other epochs nothing is sent any more."""
        if ack.epoch in (0, self.sync_state.epoch):
            self.refusal.told(ack, self.sync_state.epoch, self.sync_state.acked)
            self.uplink.refused(self.refusal.pause_s)
            self.outbox.set_pace(max(self.uplink.pace_s, self.refusal.pause_s))

    def take_events(self, wall_s: float) -> list[Event]:
        """What happened since the last call that people should know."""
        return self.event_log.take_events(wall_s)

    @property
    def _has_room(self) -> bool:
        """Whether an update more may wait in the outbox; else the delta goes on growing in the trainer."""
        return self.outbox.has_room(len(self.learner.classes), self.learner.feature_size)
