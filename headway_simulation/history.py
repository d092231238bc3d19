"""Recomputes what a device should have learned, by the simplest means, from the files it consumed.

Kept beside the device, never by it: a plain log of labels, with none of the product's buckets, stores or counters.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import numpy as np

from edge_agent.sync import SyncState
from headway.arrays import Int8
from headway.maths import Statistics
from headway.ports import Received
from headway.samples import UNLABELLED, Samples
from headway_simulation.sensor_file import SensorFile


class Violation(Exception):
    """A promise was broken: the finding of a run."""


# device, file, row: a window that somebody labelled, under whatever branch and epoch it is counted
Window = tuple[str, str, int]


@dataclass(frozen=True, slots=True, eq=False)
class LabelChange:
    """One label: given, corrected or taken back (UNLABELLED). window None: a class got another name, for all windows.

    code: int8 (1, d).
    """

    window: Window | None
    code: Int8
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """A window with the label that it has now. given: the entry of the log that gave it one, the same for all branches
    that have it in common; born: its place there."""

    given: LabelChange
    label: int
    born: int


@dataclass(frozen=True, slots=True)
class QueuedUpdate:
    """A gradient update: it covers the steps from `start` to before `stop`. It may be sent under a later epoch."""

    epoch: int
    sequence: int
    start: int
    stop: int
    delta: bytes = field(repr=False)


@dataclass(slots=True)
class Family:
    """All branches of one disk: the first one, its copies, and copies of those."""

    copied: bool = False

    def copy(self) -> None:
        """There is more than one branch now."""
        self.copied = True


class Turn(Enum):
    """What a device goes through beside files and messages. NEW_RUN: its program has started again, and learns;
    DROPPED: it dropped the gradient update in the making, because a copy may have told of its beginning; RENEWED: it
    let go of its prior, which a removed device was part of."""

    NEW_RUN = auto()
    DROPPED = auto()
    RENEWED = auto()


@dataclass(slots=True)
class History:
    """One branch of a device's life, from empty tables (or the copy that it began as) to the loss of its disk.

    log: every label that came, in order. step_changes: places in the log of those that were learned, corrections to
    another class among them. applied: the files they came from; updates: gradient updates that were queued.
    course: files consumed, those together that were answered before any of them was learned, fleet heads and priors
    (messages) taken up, in that order, to do it all over again.
    covered: steps that are in updates, or will be in none.
    excused, excused_steps: labels before this place in the log may be missing in the fleet, because the device was
    removed on request; told: what the device said about others, and left_out: how many. rows: of the file after
    `consumed`, that are learned. commands: what came of those from afar, by id.
    """

    device: str
    zeros: Statistics
    windows_max: int
    update_labels: int
    total: Statistics
    family: Family = field(default_factory=Family)
    consumed: int = 0
    rows: int = 0
    counter: int = 0
    boot: int = 0
    epoch: int | None = None
    run_id: int = 0
    covered: int = 0
    fleet_version: int = 0
    prior_samples: int = 0
    excused: int = 0
    excused_steps: int = 0
    left_out: int = 0
    told: frozenset[str] = frozenset()
    log: list[LabelChange] = field(default_factory=list)
    step_changes: list[int] = field(default_factory=list)
    updates: list[QueuedUpdate] = field(default_factory=list)
    applied: dict[str, SensorFile] = field(default_factory=dict)
    dropped: dict[str, SensorFile] = field(default_factory=dict)
    claims: dict[int, SensorFile] = field(default_factory=dict)
    course: list[tuple[SensorFile, ...] | Received | Turn] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)
    _tables_at: dict[tuple[int, int], Statistics] = field(default_factory=dict)
    _windows: OrderedDict[str, tuple[Window, Int8, int]] = field(default_factory=OrderedDict)
    rejected: dict[str, SensorFile] = field(default_factory=dict)
    # place in the log at each position of the device that was saved, under whatever epoch
    places: dict[int, int] = field(default_factory=dict)
    # labels of windows that have not come
    _early: dict[str, int] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Labels learned, corrections to another class among them."""
        return len(self.step_changes)

    def copy(self, claims: dict[int, SensorFile], rejected: dict[str, SensorFile]) -> History:
        """A branch that begins here, on another disk. claims, rejected: those of its spool."""
        self.family.copy()
        claims.update({number: file for number, file in self.claims.items() if number <= self.consumed})
        return replace(
            self,
            log=list(self.log),
            step_changes=list(self.step_changes),
            updates=list(self.updates),
            applied=dict(self.applied),
            dropped=dict(self.applied),
            claims=claims,
            course=list(self.course),
            commands=dict(self.commands),
            _tables_at=dict(self._tables_at),
            rejected=rejected,
            _windows=self._windows.copy(),
            places=dict(self.places),
            _early=dict(self._early),
        )

    def committed(self, state: SyncState, removed: bool) -> None:
        """The device made this durable: everything up to file `consumed` is learned. removed: what it had told under
        its epoch was taken out of the fleet on request. Raises Violation."""
        if self.epoch not in (None, state.epoch):
            if not self.family.copied and not removed:
                raise Violation(f"epoch {state.epoch} began though epoch {self.epoch} was neither copied nor restored")
            self.counter = 0
            if removed:
                self._told_to_forget()
        self.epoch = state.epoch
        self.runs(state.run_id)
        if state.consumed < self.consumed or state.counter < self.counter or state.boot < self.boot:
            raise Violation(f"{state} was committed after counter {self.counter}, file {self.consumed}")
        group: list[SensorFile] = []
        for sequence in range(self.consumed + 1, state.consumed + 1):
            file = self.claims[sequence]
            if file.name in self.applied:
                raise Violation(f"file {file.name} was learned twice")
            self.applied[file.name] = file
            group.append(self._apply_rows(file, None))
            self.rows = 0
        if state.begun_rows > self.rows:
            group.append(self._apply_rows(self.claims[state.begun], state.begun_rows))
            self.rows = state.begun_rows
        elif state.begun_rows < self.rows:
            raise Violation(f"{state} was committed after row {self.rows}")
        self.course.extend([tuple(group)] if group else [])
        self.consumed, self.counter, self.boot = state.consumed, state.counter, state.boot
        self.places.setdefault(state.position, len(self.log))
        if self._tables_at.setdefault((state.epoch, state.counter), self.total) != self.total:
            raise Violation(f"the tables ought to have changed, but counter {state.counter} is the same")

    def runs(self, run_id: int) -> None:
        """What is saved now comes from this run of the device's program."""
        if self.run_id and run_id not in (0, self.run_id):
            self.course.append(Turn.NEW_RUN)
        self.run_id = run_id

    def _told_to_forget(self) -> None:
        """The device was removed on request. What makes an update is dropped; less than that is in the next one."""
        self.excused, self.excused_steps = len(self.log), self.steps
        if self.steps - self.covered >= self.update_labels:
            self.covered = self.steps

    def labelled_from_afar(self, command_id: str, window_id: str, label: int) -> None:
        """A command gave a window a label: as a file with nothing but that label would."""
        labels = Samples(None, np.array([label], np.int64), (window_id,))
        file = SensorFile(f"command-{command_id}.npz", labels, np.zeros((0, self.zeros.size), np.int8))
        self.course.append((file,))
        self._apply(file)

    def queued(self, epoch: int, sequence: int, samples: int, delta: bytes) -> None:
        """The device put an update of so many labels into its outbox. Raises Violation."""
        last = self.updates[-1] if self.updates else QueuedUpdate(epoch, 0, 0, 0, b"")
        if sequence != last.sequence + 1 and (sequence != 1 or epoch == last.epoch):
            raise Violation(f"update {sequence} was queued after {last.sequence}")
        start, self.covered = self.covered, self.covered + samples
        self.updates.append(QueuedUpdate(epoch, sequence, start, self.covered, delta))

    def dropped_unfinished(self, unfinished: int) -> None:
        """The device began a new epoch, and only so many steps are in the update in the making."""
        if self.covered < self.steps - unfinished:
            self.covered = self.steps - unfinished
            self.course.append(Turn.DROPPED)

    def adopted_head(self, version: int, message: Received) -> None:
        """The device took this fleet head up, durably."""
        self.fleet_version = version
        self.course.append(message)

    def adopted_prior(self, samples: int, message: Received) -> None:
        """The device starts from this fleet prior, durably."""
        self.prior_samples = samples
        self.course.append(message)

    def leave_out(self, count: int, words: str) -> None:
        """The device told, in these words, that a new epoch leaves out so many labels; it may tell so again."""
        if words not in self.told:
            self.left_out += count
            self.told |= {words}

    def labelled(self, upto: int | None = None) -> list[Labelled]:
        """The windows that have a label after `upto` entries of the log (None: all), in the order of their first."""
        found: dict[Window, Labelled] = {}
        for place, change in enumerate(self.log[:upto]):
            if change.window is None:
                found = {w: replace(f, label=change.after) if f.label == change.before else f for w, f in found.items()}
            elif change.after == UNLABELLED:
                del found[change.window]
            elif change.before == UNLABELLED:
                found[change.window] = Labelled(change, change.after, place)
            else:
                found[change.window] = replace(found[change.window], label=change.after)
        return list(found.values())

    def learned(self, start: int, stop: int) -> set[LabelChange]:
        """The labels of the steps from `start` to before `stop`; branches share those from before they parted."""
        return {self.log[place] for place in self.step_changes[start:stop]}

    def taken_back(self, upto: int | None = None) -> set[LabelChange]:
        """The labels that were given and, at any time until then, taken back."""
        given: dict[Window, LabelChange] = {}
        found: set[LabelChange] = set()
        for change in self.log[:upto]:
            if change.window is not None and change.before == UNLABELLED:
                given[change.window] = change
            elif change.window is not None and change.after == UNLABELLED:
                found.add(given.pop(change.window))
        return found

    def tables(self, labelled: Sequence[Labelled]) -> Statistics:
        """The plain sum over some windows."""
        if not labelled:
            return self.zeros
        codes = np.concatenate([one.given.code for one in labelled])
        labels = np.array([one.label for one in labelled], np.int64)
        return Statistics.of(codes, labels, self.zeros.classes, self.zeros.space)

    def _apply_rows(self, file: SensorFile, stop: int | None) -> SensorFile:
        """The file's rows after those that are learned, up to there."""
        part = file.part(self.rows, stop)
        self._apply(part)
        return part

    def _apply(self, file: SensorFile) -> None:
        samples = file.samples
        if samples is None:
            return
        if samples.changes is not None and file.name not in self.rejected:
            self._rename(*(self.zeros.classes.index(name) for name in samples.changes.rename[0]))
        labels = [UNLABELLED] * len(samples) if samples.y is None else samples.y.tolist()
        for row, label in enumerate(labels):
            window_id = samples.ids[row] if samples.ids is not None else None
            if samples.x is not None:
                self._window((self.device, file.name, row), file.codes[row : row + 1], window_id, label)
            elif window_id is not None:
                self._late(window_id, label)

    def _window(self, window: Window, code: Int8, window_id: str | None, label: int) -> None:
        if window_id is not None:
            early = self._early.pop(window_id, UNLABELLED)
            label = early if label == UNLABELLED else label
        self._change(window, code, UNLABELLED, label)
        if window_id is not None:
            self._windows.pop(window_id, None)
            self._windows[window_id] = (window, code, label)
            while len(self._windows) > self.windows_max:
                self._windows.popitem(last=False)

    def _late(self, window_id: str, label: int) -> None:
        if window_id not in self._windows:
            if label == UNLABELLED:
                self._early.pop(window_id, None)
            else:
                self._early[window_id] = label
            return
        window, code, before = self._windows[window_id]
        self._change(window, code, before, label)
        self._windows[window_id] = (window, code, label)

    def _rename(self, before: int, after: int) -> None:
        """A class gets another name."""
        self.log.append(LabelChange(None, np.zeros((0, self.zeros.size), np.int8), before, after))
        self._windows = OrderedDict(
            (name, (window, code, after if label == before else label))
            for name, (window, code, label) in self._windows.items()
        )
        self._early = {name: after if label == before else label for name, label in self._early.items()}
        self.total = self.tables(self.labelled())

    def _change(self, window: Window, code: Int8, before: int, after: int) -> None:
        if before == after:
            return
        if before != UNLABELLED:
            self.total = self.total - self._of(code, before)
        if after != UNLABELLED:
            self.total = self.total + self._of(code, after)
            self.step_changes.append(len(self.log))
        self.log.append(LabelChange(window, code, before, after))

    def _of(self, code: Int8, label: int) -> Statistics:
        return Statistics.of(code, np.array([label], np.int64), self.zeros.classes, self.zeros.space)
