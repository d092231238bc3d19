"""Takes in the sensor's files: answers each, learns from it, commits and clears it away; also while the disk refuses.

    good      read -> predict, learn -> answer -> commit (the moment it counts) -> clear the file away
    degraded  read -> predict -> answer; the file stays claimed, and is learned once the disk is back

A file whose commit was refused is learned in memory already; it is cleared away when the commit goes through. Power
that fails in between loses nothing: the next start finds the file claimed and not committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from edge_agent.agent import Agent
from edge_agent.effects import LabelCounts
from edge_agent.pipeline import Features, Pipeline
from edge_agent.sensors import Claimed, Sensor
from edge_agent.store import Changes, OutboxRow, RetryingStore, Store
from edge_agent.training import Training
from headway.class_changes import ClassChanges
from headway.errors import DataError, StoreError
from headway.ports import Clock
from headway.samples import Samples

log = logging.getLogger("edge-agent")

# files that may wait for the disk; beyond it they stay in the spool, and their predictions wait too
HELD_FILES_MAX = 10_000
ROWS_MAX = 1 << 30

Note = Callable[[str, str], None]


class Intake:
    """Takes in one device's files. note: publishes an event, by name and in words.

    training: says how many labels of a file may be learned at once. new_classes: names that are unknown are new
    classes. replace_database: sets a damaged database aside and opens an empty one; None where that cannot be.
    """

    def __init__(
        self,
        clock: Clock,
        pipeline: Pipeline,
        store: RetryingStore,
        agent: Agent,
        sensor: Sensor,
        training: Training,
        note: Note,
        *,
        new_classes: bool = False,
        replace_database: Callable[[Store], Store] | None = None,
    ) -> None:
        self._clock, self._pipeline, self._store = clock, pipeline, store
        self._agent, self._sensor, self._training, self._note = agent, sensor, training, note
        self._new_classes, self._replace_database = new_classes, replace_database
        self._held: list[Claimed] = []
        self._unanswered: list[tuple[Claimed, bytes]] = []
        self._unreleased: list[Claimed] = []

    def start(self) -> None:
        """Finish what the last run had begun."""
        for file in self._sensor.recover(self._agent.sync_state.consumed):
            self._take_in(file)

    def poll(self, stopping: Callable[[], bool]) -> int:
        """Take in what waits; returns how many files."""
        self._heal()
        taken = 0
        try:
            for file in () if len(self._held) >= HELD_FILES_MAX else self._sensor.claim(self._next_sequence()):
                self._take_in(file)
                taken += 1
                if stopping() or len(self._held) >= HELD_FILES_MAX:
                    break
            if taken:
                self._sensor.prune_answers()
        except StoreError as error:
            self._store.failed(error, self._now_s)
        return taken

    @property
    def _now_s(self) -> float:
        return self._clock.monotonic_s()

    def _next_sequence(self) -> int:
        held = self._held[-1].sequence if self._held else 0
        return max(held, self._agent.sync_state.consumed) + 1

    def _take_in(self, file: Claimed) -> None:
        if self._store.degraded:
            self._hold(file)
            return
        try:
            self._agent.outbox.note_stored(*self._store.outbox_size())
            samples, features = self._read(file)
            if samples.changes is not None:
                self._agent.change_classes(samples.changes)
            # all or none of them, before anything is learned
            self._agent.learner.names.check(ClassChanges(add=samples.names))
        except DataError as error:
            self._reject(file, str(error))
            return
        except StoreError as error:
            self._store.failed(error, self._now_s)
            self._hold(file)
            return
        for name in samples.names:
            self._agent.add_class(name)
        self._training.grant()
        if features is not None:
            answer = self._agent.process(features, samples.y, samples.ids)
            self._finish(file, answer.encode())
            return
        if samples.ids is not None and samples.y is not None:
            self._report_labels(file.name, self._agent.label(samples.ids, samples.y))
        self._finish(file, None)

    def _finish(self, file: Claimed, answer: bytes | None) -> None:
        """Answer, commit, clear away; each step only after the one before it."""
        self._agent.event_log.record(self._clock.wall_s())
        changes = self._agent.changes(consumed=file.sequence)
        try:
            if answer is not None:
                self._sensor.answer(file, answer)
        except StoreError as error:
            self._store.postpone(changes)
            self._store.failed(error, self._now_s)
            self._unanswered.append((file, answer or b""))
        else:
            self._store.commit(changes, self._now_s)
        self._unreleased.append(file)
        self._release()

    def _release(self) -> None:
        """Clear away what is committed."""
        try:
            while self._unreleased and not self._store.degraded:
                self._sensor.release(self._unreleased[0])
                self._unreleased.pop(0)
        except StoreError as error:
            self._store.failed(error, self._now_s)

    def _hold(self, file: Claimed) -> None:
        """Predict only; the file waits, and will be taken in as if it came later."""
        self._held.append(file)
        try:
            _, features = self._read(file)
            if features is not None:
                self._sensor.answer(file, self._agent.process(features, None).encode())
        except DataError:
            return  # it is rejected when its turn comes: moving it is a change on the disk, too
        except StoreError as error:
            self._store.failed(error, self._now_s)

    def _heal(self) -> None:
        """Try the disk again, and when it is back catch up."""
        if not self._store.due(self._now_s):
            return
        try:
            if self._store.damaged and self._replace_database is not None:
                self._go_on_from_memory(self._replace_database)
            while self._unanswered:
                self._sensor.answer(*self._unanswered[0])
                self._unanswered.pop(0)
        except StoreError as error:
            self._store.failed(error, self._now_s)
            return
        if not self._store.retry(self._now_s):
            return
        self._release()
        held, self._held = self._held, []
        for file in held:
            self._take_in(file)

    def _go_on_from_memory(self, replace_database: Callable[[Store], Store]) -> None:
        """Memory holds everything but the outbox: go on from it in a new database."""
        problem = self._store.problem
        rows = self._readable_outbox()
        store = replace_database(self._store.current)
        changes = Changes({}, outbox=rows or ())
        if rows is None and self._agent.sync_state.sequence:
            # the updates that waited are gone, and the aggregator takes none after a gap
            changes = changes.then(self._agent.fork(problem))
        everything = self._agent.everything()
        known = {row.sequence for row in everything.outbox}
        waiting = tuple(row for row in changes.outbox if row.sequence not in known)
        self._store.replace(store, replace(everything, outbox=waiting + everything.outbox), self._now_s)
        self._note("store-replaced", f"{problem}; went on from memory in a new database")

    def _readable_outbox(self) -> tuple[OutboxRow, ...] | None:
        """Rows of the damaged database and those not yet committed; None when they cannot be read."""
        try:
            return (*self._store.current.outbox(0, ROWS_MAX), *self._store.uncommitted_rows)
        except StoreError:
            return None

    def _read(self, file: Claimed) -> tuple[Samples, Features | None]:
        learner = self._agent.learner
        samples = self._sensor.read(file, learner.classes, new_classes=self._new_classes, task=learner.task)
        has_windows = samples.x is not None and len(samples)
        return samples, self._pipeline.features(samples.x) if has_windows and samples.x is not None else None

    def _reject(self, file: Claimed, reason: str) -> None:
        try:
            self._sensor.reject(file, reason)
        except StoreError as error:
            self._store.failed(error, self._now_s)
            self._held.append(file)
            return
        self._store.commit(self._agent.changes(consumed=file.sequence), self._now_s)
        self._note("input-rejected", f"{file.name}: {reason}")

    def _report_labels(self, name: str, counts: LabelCounts) -> None:
        log.info("%s: %s", name, counts)
        if counts.unknown:
            self._note(
                "labels-unknown",
                f"{name}: {counts.unknown} labels are for windows this device does not remember (horizon_rows)",
            )
