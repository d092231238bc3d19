"""Takes in the sensor's files: answers each, learns from it, commits and clears it away; also while the disk refuses.

    good      read -> predict -> answer -> learn -> commit (the moment it counts) -> clear the file away
    degraded  read -> predict -> answer; the file stays claimed, and is learned once the disk is back

A poll ends when its time is over, between two files or inside one: a large file is committed slice by slice, each with
the number of rows that are learned now, and its answer is given when it is whole.
Small files are answered, learned and committed in groups (finished_files.py), so that a backlog costs few syncs and no
answer waits for learning. Files with many labels are streams: each row is answered by what the rows before it taught.

A file whose commit was refused is learned in memory already; it is cleared away when the commit goes through. Power
that fails in between loses nothing: the next start finds the file claimed and not committed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

from edge_agent.agent import Agent
from edge_agent.answer_draft import AnswerDraft, write_answer
from edge_agent.answers import Answers
from edge_agent.attempts import TRIED, TRIES_MAX, Attempts
from edge_agent.effects import Answer
from edge_agent.file_at_hand import FileAtHand
from edge_agent.finished_files import FinishedFiles
from edge_agent.from_memory import go_on_from_memory
from edge_agent.labels import log_labels, of_windows
from edge_agent.pace import Pace
from edge_agent.pipeline import Pipeline
from edge_agent.sensors import Claimed, MoreTime, Sensor
from edge_agent.store import RetryingStore, Store
from edge_agent.training import HELD_MAX, LATE_S_MAX, Training
from headway.class_changes import ClassChanges
from headway.errors import DataError, StoreError
from headway.ports import Clock
from headway.samples import Samples

log = logging.getLogger("edge-agent")

# one poll; the watchdog, requests to stop and the network wait for it
POLL_S = 0.5
# of one commit: their answer is in memory until then
SLICE_ROWS_MAX = 4096
# files that may wait for the disk; beyond it they stay in the spool, and their predictions wait too
HELD_FILES_MAX = 10_000

Note = Callable[[str, str], None]


class Intake:
    """Takes in one device's files. note: publishes an event, by name and in words.

    training: says how many labels of a file may be learned at once. new_classes: names that are unknown are new
    classes. replace_database: sets a damaged database aside and opens an empty one; None where that cannot be.
    draft, attempts: what is kept beside the store of a file that is not finished. answers: gives them to others, too.
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
        draft: AnswerDraft,
        attempts: Attempts,
        answers: Answers,
        new_classes: bool = False,
        replace_database: Callable[[Store], Store] | None = None,
    ) -> None:
        self._clock, self._pipeline, self._store = clock, pipeline, store
        self._agent, self._sensor, self._training, self._note = agent, sensor, training, note
        self._draft, self._attempts, self._answers = draft, attempts, answers
        self._new_classes, self._replace_database = new_classes, replace_database
        # claimed and not committed, in order; while the disk refuses the first of them are answered already
        self._queue: deque[Claimed] = deque()
        self._answered = 0
        self._recovered = False
        self._claims: Iterator[Claimed] | None = None
        self._at_hand: FileAtHand | None = None
        self.pace = Pace(clock, agent.learner.labels)
        self._finished = FinishedFiles(clock, store, agent, sensor, draft, training, self.pace)
        self.busy = False

    def poll(self, stopping: Callable[[], bool]) -> int:
        """Take in what waits, until it is time for other things; returns how many files, or parts of one.

        `busy` then tells whether more waits.
        """
        deadline_s = self._now_s + POLL_S

        def until() -> bool:
            return stopping() or self._now_s >= deadline_s

        taken = 0
        try:
            self._recover()
            self._heal()
            if self._at_hand is not None and self._at_hand.learning is self._store.degraded:
                self._put_back()
            while self._at_hand is not None or self._begin_next():
                taken += 1
                if self._at_hand is not None:
                    self._go_on(self._at_hand, until)
                if until():
                    break
                if self._finished.due(again=bool(self._queue)):
                    self._finished.settle()
            self._finished.settle()
            if taken:
                self._sensor.prune_answers()
        except StoreError as error:
            self._finished.settle()
            self._store.failed(error, self._now_s)
            self._put_back()
        finally:
            self._finished.settle()  # what is learned is answered also when the runtime fails at the next file
        for name, problem in self._sensor.take_notices():
            self._note(name, problem)
        self.busy = taken > 0 and until()
        if not self.busy:
            self._claims = None
        return taken

    def close(self) -> None:
        """The process ends, or starts again."""
        self._attempts.close()

    @property
    def _now_s(self) -> float:
        return self._clock.monotonic_s()

    def _recover(self) -> None:
        """Once after a start: what the last run had claimed and did not finish comes first."""
        if not self._recovered:
            state = self._agent.sync_state
            self._queue.extend(self._sensor.recover(state.consumed))
            self._recovered = True
            self._answers.recovered(self._queue)
            if state.begun not in {file.sequence for file in self._queue}:
                if state.begun:  # the next file must not pass for the rest of it
                    log.warning("a file is gone of which %d rows are learned; the others are not", state.begun_rows)
                    self._agent.consumed(state.begun)
                self._draft.clear()

    def _begin_next(self) -> bool:
        """Begin with the next file; False when there is none. One that cannot be used is set aside at once."""
        degraded = self._store.degraded
        if degraded and self._answered < len(self._queue):
            file: Claimed | None = self._queue[self._answered]
        elif degraded:
            file = self._claim() if len(self._queue) < HELD_FILES_MAX else None
            self._queue.extend(() if file is None else (file,))
        else:
            file = self._queue.popleft() if self._queue else self._claim()
        if file is None:
            return False
        if degraded:
            self._answered += 1
        self._begin(file, learning=not degraded)
        return True

    def _claim(self) -> Claimed | None:
        """The next file that waits. One look into the spool serves for what it finds, over several polls if need be."""
        if self._claims is None:
            newest = self._queue[-1].sequence if self._queue else 0
            self._claims = self._sensor.claim(max(newest, self._agent.sync_state.consumed) + 1)
        return next(self._claims, None)

    def _begin(self, file: Claimed, learning: bool) -> None:
        rows = self._agent.sync_state.rows_of(file.sequence)
        if learning and self._attempts.tries(file.sequence, rows) >= TRIES_MAX:
            self._reject(file, TRIED)
            return
        try:
            with self._attempts.trying(file.sequence, rows):
                samples = self._read(file, learning)
            answered = self._draft.resume(file.sequence, rows) if learning and rows and samples.has_windows else rows
        except DataError as error:
            if learning:  # otherwise when its turn comes: moving it is a change on the disk, too
                self._reject(file, str(error))
        except MoreTime:
            if learning:
                self._queue.appendleft(file)
            else:
                self._answered -= 1
        except StoreError:
            if learning:
                self._queue.appendleft(file)
            raise
        else:
            self._at_hand = FileAtHand(file, samples, learning, rows, answered if learning else 0)

    def _go_on(self, work: FileAtHand, until: Callable[[], bool]) -> None:
        """One slice of a file: its windows are looked at, or some of its rows are answered and learned."""
        answers: list[Answer] = []
        file, rows = work.file, self._agent.sync_state.rows_of(work.file.sequence)
        try:
            with self._attempts.trying(file.sequence, rows):
                if work.to_check:
                    work.check(self._pipeline, until)
                    if not work.to_check:
                        work.close()
                        work.begin_anew(self._read(file, work.learning))
                    return
                if work.to_skip:
                    work.skip(until)
                    return
                self._answer_slice(work, answers, until)
        except DataError as error:
            self._leave(work)
            if work.learning:
                self._reject(file, str(error))
            return
        part = Answer.joined(answers) if answers else None
        if part is not None:
            self._answers.give(file, work.row - len(part), work.samples.ids, part)
        if not work.learning:
            self._foretell(work, part)
        elif work.finished:
            self._leave(work)
            if work.brings_labels:
                log_labels(file.name, work.counts, self._note)
            earlier = self._draft.parts if work.in_parts else tuple
            write = partial(write_answer, parts=lambda: (*earlier(), part), ids=work.made_ids)
            windows = len(work.samples) if work.brings_windows else 0
            self._finished.add(file, None if part is None else write, 0 if part is None else len(part), windows)
            if work.in_parts:
                self._finished.settle()
        else:
            self._commit_slice(work, part)

    def _answer_slice(self, work: FileAtHand, answers: list[Answer], until: Callable[[], bool]) -> None:
        """Rows until it is time; their answers go into `answers`. Raises DataError."""
        agent, start = self._agent, work.row
        if work.learning:
            work.prepare(self._pipeline)
            if work.labels > HELD_MAX:
                self._finished.settle()  # or its answers would wait until these labels are learned
            if not start:
                for name in work.samples.names:
                    agent.add_class(name)
            self._training.grant(hold=work.labels <= HELD_MAX)
        late_s = self._now_s + LATE_S_MAX
        while not work.finished:
            if work.brings_labels and self._now_s >= late_s:
                self._agent.labelling.allow(0)  # windows wait behind this file
            part = work.answer_some(agent, self._pipeline, until, self._clock.wall_s())
            if work.learning:
                agent.consumed_rows(work.file.sequence, work.learned)
            if part is not None:
                self.pace.took(len(part))
                answers.append(part)
            if until() or work.row - start >= SLICE_ROWS_MAX:
                return

    def _foretell(self, work: FileAtHand, part: Answer | None) -> None:
        """The disk refuses: keep what is predicted in memory, and give it when it is whole."""
        work.predicted.extend(() if part is None else (part,))
        if not work.finished:
            return
        self._leave(work)
        try:
            if work.predicted:
                write = partial(write_answer, parts=lambda: work.predicted, ids=work.made_ids)
                self._sensor.answer([(work.file, write)])
        except StoreError as error:
            self._store.failed(error, self._now_s)

    def _commit_slice(self, work: FileAtHand, part: Answer | None) -> None:
        """What is learned of the file so far, and which rows these are; first the answer to them."""

        def keep() -> None:
            if part is not None:
                work.keep_part()
                self._draft.append(work.file.sequence, work.row - len(part), part)

        self._finished.settle(keep)
        if self._store.degraded:
            self._put_back()

    def _leave(self, work: FileAtHand) -> None:
        work.close()
        self._at_hand = None

    def _put_back(self) -> None:
        """The disk refuses, or is back: the file at hand waits for its turn again."""
        if (work := self._at_hand) is not None:
            self._leave(work)
            if work.learning:
                self._queue.appendleft(work.file)

    def _heal(self) -> None:
        """Try the disk again, and when it is back catch up."""
        if not self._store.due(self._now_s):
            return
        try:
            if self._store.damaged and self._replace_database is not None:
                problem = self._store.problem
                go_on_from_memory(self._store, self._agent, self._replace_database, self._now_s)
                self._note("store-replaced", f"{problem}; went on from memory in a new database")
            self._draft.flush()
            self._finished.answer_late()
        except StoreError as error:
            self._store.failed(error, self._now_s)
            return
        if not self._store.retry(self._now_s):
            return
        self._answered = 0
        self._finished.release()

    def _read(self, file: Claimed, learning: bool) -> Samples:
        """The content; before it is learned, everything about classes is checked, and done where that is all."""
        learner = self._agent.learner
        if learning and not self._finished.uncommitted:
            self._agent.outbox.note_stored(*self._store.outbox_size())
        samples = self._sensor.read(file, learner.classes, new_classes=self._new_classes, task=learner.task)
        if learning:
            try:
                if samples.changes is not None:
                    self._agent.change_classes(samples.changes)
                # all or none of them, before anything is learned
                learner.names.check(ClassChanges(add=samples.names))
            except DataError:
                samples.close()
                raise
        return of_windows(samples, self._agent.windows) if learning else samples

    def _reject(self, file: Claimed, reason: str) -> None:
        self._finished.settle()
        rows = self._agent.sync_state.rows_of(file.sequence)
        if rows:
            reason += f"; its first {rows} rows are learned: give only those after them again"
        self._agent.event_log.record(self._clock.wall_s())
        try:
            self._sensor.reject(file, reason)
        except StoreError as error:
            self._store.postpone(self._agent.changes())
            self._store.failed(error, self._now_s)
            self._queue.appendleft(file)
            return
        self._agent.consumed(file.sequence)
        self._store.commit(self._agent.changes(), self._now_s)
        self._note("input-rejected", file.about(reason))
