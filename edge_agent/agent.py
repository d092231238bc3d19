"""The agent's core: one readable loop, and every decision. No clock, disk, socket or runtime of its own.

Events go in, effects come out, in the order in which the loop (loop.py) must carry them out:
what must be durable is committed before anything that depends on it is said to anybody.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge_agent.checkpoint import INDEX, split
from edge_agent.config import SyncSettings
from edge_agent.journal import ClassAdded, Corrected, Entry, HeadAdopted, Operation, Taught
from edge_agent.learner.gradient import GradientTrainer
from edge_agent.learner.serving import Learner, Prediction
from edge_agent.learner.windows import Windows, unlabelled
from edge_agent.pipeline import Features
from edge_agent.store import Changes, OutboxRow
from headway.arrays import Float32, Int64, Strings
from headway.errors import RemoteError, StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json
from headway.messages import MESSAGE_BYTES_MAX, Ack, Event, Metrics, PublishedHead, StatisticsReport, Update
from headway.samples import UNLABELLED
from headway.topics import Kind

# labels between two checkpoints: few enough to be done again in a second at the next start, many enough to make
# a checkpoint cheap per label
CHECKPOINT_OPERATIONS = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """The agent's predictions for a batch, made before any of its labels was used.

    prediction: int64 (n,); probability: float32 (n, C); source: text (n,), the head that served each row.
    """

    prediction: Int64
    probability: Float32
    source: Strings

    def encode(self) -> bytes:
        """As ``.npz`` bytes, three arrays by these names."""
        buffer = io.BytesIO()
        np.savez(buffer, prediction=self.prediction, probability=self.probability, source=self.source)
        return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Send:
    """A message for the aggregator, of a kind that is safe to repeat or to lose."""

    kind: Kind
    payload: bytes


@dataclass(slots=True)
class LabelCounts:
    """What became of labels that came after their windows."""

    learned: int = 0
    repeated: int = 0
    corrected: int = 0
    unknown: int = 0


@dataclass(slots=True)
class SyncState:
    """Where the device stands with the aggregator. Saved with the learner, in the same transaction.

    epoch: identity of this device's history, drawn at random when its state was created.
    counter: grows whenever the tables change; acked: the highest the aggregator has durably stored.
    sequence: last outbox row written.
    """

    epoch: int
    counter: int = 0
    acked: int = 0
    sequence: int = 0
    boot: int = 0
    consumed: int = 0

    def encode(self) -> bytes:
        return canonical_json({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def decode(cls, payload: bytes) -> SyncState:
        fields = Fields(parse_json(payload, "saved sync state", StoreError), "saved sync state", StoreError)
        state = cls(**{name: fields.integer(name) for name in cls.__dataclass_fields__})
        fields.finish()
        return state


@dataclass(slots=True)
class Agent:
    """One device. `sync_state` and the learner are what a commit saves."""

    device: str
    learner: Learner
    settings: SyncSettings
    sync_state: SyncState
    _sent_counter: int = -1
    _sent_at_s: float = -1e9
    _pace_s: float = 0.0
    _outbox_sent: int = 0
    _outbox_sent_at_s: float = -1e9
    outbox_full: bool = False
    unsendable_bytes: int = 0
    _pending: list[OutboxRow] = field(default_factory=list)
    windows: Windows = field(default_factory=lambda: Windows(0))
    _operations: list[Operation] = field(default_factory=list)
    _journalled: int = 0
    _pieces: frozenset[str] = frozenset()
    # nothing to append to before the first one
    _checkpoint_due: bool = True

    def process(self, features: Features, labels: Int64 | None, ids: Sequence[str] | None = None) -> Answer:
        """The loop: predict -> (label) -> score -> learn -> gate -> serve, window by window.

        labels: int64 (n,), -1 where there is none; None without any. ids: names under which labels may come later;
        a label for an id that was labelled before corrects it. Commit afterwards.
        """
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
            if ids is not None:
                for row in range(stop - start):
                    self.windows.add(ids[start + row], unlabelled(window, served.probability, served.source, row))
            if labels is not None and labels[start] != UNLABELLED:
                number = self._learn(window, int(labels[start]), served)
                if ids is not None:
                    self.windows.relabel(ids[start], int(labels[start]), number)
            start = stop
        probability = np.concatenate(probabilities)
        return Answer(np.asarray(probability.argmax(axis=1), np.int64), probability, np.array(sources))

    def label(self, ids: Sequence[str], labels: Int64) -> LabelCounts:
        """Labels for windows seen earlier: late, in any order, repeated, corrected (-1 takes one back). Commit after.

        labels: int64 (n,). A label for a window that is no longer remembered is counted as unknown.
        """
        counts = LabelCounts()
        for window_id, label in zip(ids, labels.tolist(), strict=True):
            known = self.windows.get(window_id)
            if known is None:
                counts.unknown += 1
            elif known.label == label:
                counts.repeated += 1
            elif known.label == UNLABELLED:
                self.windows.relabel(window_id, label, self._learn(known.features, label, known.served))
                counts.learned += 1
            else:
                after = None if label == UNLABELLED else label
                self.learner.correct(known.number, known.features, known.label, after)
                self._note(Corrected(known.features, known.number, known.label, label))
                self.windows.relabel(window_id, label, known.number)
                self.sync_state.counter += 1
                counts.corrected += 1
        return counts

    def add_class(self, name: str) -> None:
        """A class that the bundle does not know; nothing happens when it is known already. Commit afterwards."""
        if name not in self.learner.classes or name in self.learner.removed:
            self.learner.add_class(name)
            self._note(ClassAdded(name))

    def changes(self, consumed: int | None = None) -> Changes:
        """The transaction that makes everything since the last one durable: a journal entry, or now and then a whole
        checkpoint, which takes the place of all entries so far.

        consumed: sequence of the spool file whose rows are now learned.
        """
        if consumed is not None:
            self.sync_state.consumed = consumed
        outbox, self._pending = tuple(self._pending), []
        windows, gone = self.windows.take_changes()
        operations, self._operations = self._operations, []
        sync = self.sync_state.encode()
        self._journalled += max(1, len(operations))
        if not self._checkpoint_due and self._journalled < CHECKPOINT_OPERATIONS:
            return Changes({}, outbox, windows=windows, forgotten=gone, journal=Entry(sync, operations).encode())
        return self._checkpoint(sync, Changes({}, outbox, windows=windows, forgotten=gone))

    def checkpoint(self) -> Changes:
        """Like `changes`, with the whole state."""
        self._checkpoint_due = True
        return self.changes()

    def resumed(self, pieces: frozenset[str], journalled: int) -> None:
        """The learner was restored from a store that holds these pieces and a journal of that length."""
        self._pieces, self._journalled, self._checkpoint_due = pieces, journalled, False

    def due(self, now_s: float, connected: bool) -> list[Send]:
        """What to send now. Statistics are cumulative, so only the newest matters, until it is acknowledged."""
        state, waited_s = self.sync_state, now_s - self._sent_at_s
        if not connected or waited_s < max(self.settings.interval_s, self._pace_s) or state.acked >= state.counter:
            return []
        if self._sent_counter == state.counter and waited_s < self.settings.ack_timeout_s:
            return []
        self._sent_counter, self._sent_at_s = state.counter, now_s
        learner = self.learner
        metrics = Metrics(state.epoch, state.counter, learner.served_sums, learner.frozen_sums)
        sends = [Send(Kind.METRICS, metrics.encode())]
        if not isinstance(learner.trainer, GradientTrainer):
            report = StatisticsReport(self.device, state.epoch, state.counter, learner.trainer.local).encode()
            if len(report) > MESSAGE_BYTES_MAX:
                self.unsendable_bytes = len(report)
            else:
                sends.append(Send(Kind.STATISTICS, report))
        return sends

    def outbox_position(self, now_s: float) -> int:
        """Sequence after which outbox rows are to be sent now; goes back when acks stay out too long."""
        if now_s - self._outbox_sent_at_s >= self.settings.ack_timeout_s:
            self._outbox_sent = 0
        return self._outbox_sent

    def outbox_sent(self, sequence: int, now_s: float) -> None:
        """Rows up to `sequence` were handed to the transport. They stay stored until acknowledged."""
        self._outbox_sent, self._outbox_sent_at_s = sequence, now_s

    def reconnected(self) -> None:
        """A fresh connection: whatever was in flight may be lost, so send again at once."""
        self._sent_counter, self._sent_at_s = -1, -1e9
        self._outbox_sent, self._outbox_sent_at_s = 0, -1e9

    def acknowledged(self, payload: bytes) -> Changes | None:
        """The aggregator has stored something durably. Returns the transaction that forgets it, if any."""
        ack, state = Ack.decode(payload), self.sync_state
        if ack.epoch != state.epoch:
            return None
        if ack.counter > state.counter or ack.sequence > state.sequence:
            raise RemoteError(
                f"ack of counter {ack.counter}, sequence {ack.sequence}: this device is only at "
                f"{state.counter}, {state.sequence}; was it cloned, or restored from an older backup?"
            )
        self._pace_s = ack.pace_s
        news = ack.counter > state.acked
        state.acked = max(state.acked, ack.counter)
        if not news and not ack.sequence:
            return None
        return replace(self.changes(), acknowledged=ack.sequence or None)

    def head_published(self, payload: bytes) -> bool:
        """The fleet has a new head; True when it was news. Raises RemoteError when it cannot be used."""
        news = self.learner.adopt(PublishedHead.decode(payload))
        if news:
            self._note(HeadAdopted(payload))
        return news

    def take_events(self, wall_s: float) -> list[Event]:
        """Gate decisions since the last call, as events for people."""
        decisions, self.learner.decisions = self.learner.decisions, []
        events = []
        for decision in decisions:
            scores: dict[str, JsonValue] = {
                name: {"weight": round(s.weight, 3), "loss": round(s.loss, 3)} for name, s in decision.scores.items()
            }
            detail: dict[str, JsonValue] = {
                "before": decision.before,
                "after": decision.after,
                "by": decision.kind,
                "scores": scores,
            }
            events.append(Event("head-changed", detail, wall_s))
        return events

    def _learn(self, window: Features, label: int, served: Prediction) -> int:
        number = self.learner.learn(window, label, served)
        self.sync_state.counter += 1
        self._note(Taught(window, label, served, queued=self._queue_update()))
        return number

    def _note(self, operation: Operation) -> None:
        """Remember what was done to the learner until the next commit."""
        self._operations.append(operation)
        if len(self._operations) >= CHECKPOINT_OPERATIONS:
            # the commit will be a checkpoint, which needs no list of them
            self._checkpoint_due = True
            self._operations.clear()

    def _checkpoint(self, sync: bytes, changes: Changes) -> Changes:
        pieces = split(self.learner.encode())
        new = {name: piece for name, piece in pieces.items() if name not in self._pieces}
        gone = tuple(sorted(self._pieces - set(pieces)))
        self._pieces = frozenset(pieces) - {INDEX}
        self._journalled, self._checkpoint_due = 0, False
        return replace(changes, state=new | {"sync": sync}, checkpoint=True, dropped=gone)

    def _queue_update(self) -> bool:
        """Put a finished update into the outbox; True when there was one."""
        trainer = self.learner.trainer
        if self.outbox_full:
            return False  # the delta goes on growing in the trainer: waiting updates merge instead of piling up
        update = trainer.take_update() if isinstance(trainer, GradientTrainer) else None
        if update is None:
            return False
        state = self.sync_state
        state.sequence += 1
        message = Update(
            self.device,
            state.epoch,
            state.sequence,
            update.base_version,
            update.samples,
            self.learner.space,
            self.learner.classes,
            update.delta,
        )
        self._pending.append(OutboxRow(state.sequence, message.encode()))
        return True


def _next_labelled(labels: Int64 | None, start: int, count: int) -> int:
    """End of the run that one head can serve: a labelled row alone, or all rows up to the next labelled one."""
    if labels is None:
        return count
    if labels[start] != UNLABELLED:
        return start + 1
    later = np.flatnonzero(labels[start:] != UNLABELLED)
    return start + int(later[0]) if len(later) else count
