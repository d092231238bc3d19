"""Files whose answers are known: they are answered, learned, committed and cleared away, several with the syncs of one.

    answers, durably -> their labels are learned -> one commit -> the files go

A sync is what a small file costs most. In a backlog one commit, one write of each folder and one fsync per answer serve
a whole group; a file that comes alone is a group of its own. Power that fails before the commit has learned none of
them: the next start finds them claimed.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.agent import Agent
from edge_agent.answer_draft import AnswerDraft
from edge_agent.pace import Pace
from edge_agent.sensors import Claimed, Sensor
from edge_agent.store import RetryingStore
from edge_agent.training import HELD_MAX, Training
from headway.durable import Content
from headway.errors import StoreError
from headway.ports import Clock

# a group is answered when it is so large, or so old, or has HELD_MAX labels
FILES_MAX = 32
ROWS_MAX = 4096
AGE_S_MAX = 0.1


class FinishedFiles:
    """The group at hand, in the order in which it came, and what the disk refused of those before it."""

    def __init__(
        self,
        clock: Clock,
        store: RetryingStore,
        agent: Agent,
        sensor: Sensor,
        draft: AnswerDraft,
        training: Training,
        pace: Pace,
    ) -> None:
        self._clock, self._store, self._agent, self._sensor, self._draft = clock, store, agent, sensor, draft
        self._training, self._pace = training, pace
        self._files: list[Claimed] = []
        self._answers: list[tuple[Claimed, Content]] = []
        self._rows = self._windows = 0
        self._since_s = 0.0
        self._unanswered: list[tuple[Claimed, Content]] = []
        self._unreleased: list[Claimed] = []

    def add(self, file: Claimed, answer: Content | None, rows: int, windows: int) -> None:
        """A file that is taken in to its end. rows: of its answer, those in memory until the group is answered.

        windows: all of them.
        """
        self._agent.consumed(file.sequence)
        if not self._files:
            self._since_s = self._clock.monotonic_s()
        self._files.append(file)
        self._answers.extend([] if answer is None else [(file, answer)])
        self._rows, self._windows = self._rows + rows, self._windows + windows

    @property
    def uncommitted(self) -> bool:
        """Whether the store does not know yet what was taken in."""
        return bool(self._files)

    def due(self, *, again: bool) -> bool:
        """Whether no other file should join the group. again: files wait that the last run had taken, and may have
        answered; then time closes no group, and their answers come from the same head once more."""
        held, old = self._agent.labelling.held, self._clock.monotonic_s() - self._since_s >= AGE_S_MAX
        full = len(self._files) >= FILES_MAX or self._rows >= ROWS_MAX or held >= HELD_MAX
        return bool(self._files) and (full or (old and not again))

    def settle(self, keep: Callable[[], None] | None = None) -> None:
        """Answer the group, learn its labels, commit, clear it away; each step only after the one before it.

        keep: is done before the commit, which then takes place in any case: a part of the next file is answered, too.
        """
        if not self._files and keep is None:
            return
        files, answers, windows = self._files, self._answers, self._windows
        self._files, self._answers, self._rows, self._windows = [], [], 0, 0
        refused: StoreError | None = None
        try:
            if answers:
                self._sensor.answer(answers)
                self._pace.answered((file for file, _ in answers), windows)
            if keep is not None:
                keep()
        except StoreError as error:
            refused = error
            self._unanswered.extend(answers)
        self._training.learn_held()
        self._agent.event_log.record(self._clock.wall_s())
        changes, now_s = self._agent.changes(), self._clock.monotonic_s()
        if refused is None:
            self._store.commit(changes, now_s)
        else:
            self._store.postpone(changes)
            self._store.failed(refused, now_s)
        self._unreleased.extend(files)
        self.release()

    def answer_late(self) -> None:
        """Give the answers that the disk refused. Raises StoreError."""
        if self._unanswered:
            self._sensor.answer(self._unanswered)
            self._unanswered = []

    def release(self) -> None:
        """Clear away what is committed."""
        try:
            while self._unreleased and not self._store.degraded:
                self._sensor.release(self._unreleased[0])
                self._draft.clear_of(self._unreleased[0].sequence)
                self._unreleased.pop(0)
        except StoreError as error:
            self._store.failed(error, self._clock.monotonic_s())
