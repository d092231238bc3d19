"""Knows the exact learner's statistics of earlier moments, as far back as a branch of the device's history may begin.

The newest changes are kept one by one: from the statistics of now, what came after a moment is taken off again, to the
bit. The store keeps them anyway, as the tail of its journal. For longer ago there are marks, whole statistics of the
moments at which a run of the program began to learn: where a copy of a stopped device begins its branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_agent.learner import CorrectLabel, LearnLabel, Operation
from edge_agent.store import CORRECTIONS, MARK, Extent, Saved
from edge_agent.sync.steps import RecentSteps, Step
from headway.arrays import AnyArray, Int8
from headway.durable import checked, unchecked
from headway.errors import RemoteError, StoreError
from headway.fields import Fields, JsonValue
from headway.maths import Statistics, from_arrays, to_arrays
from headway.samples import UNLABELLED, Label
from headway.tensors import decode_tensors, encode_tensors

RowOf = Callable[[Int8, Label], tuple[Int8, int]]

MARKS_MAX, CORRECTIONS_MAX = 4, 4096
MARK_BYTES_MAX = 256 << 20


@dataclass(frozen=True, slots=True)
class Moment:
    """The device at one `position` (`SyncState.position`): how many labels it had learned, and its statistics."""

    position: int
    labels: int
    statistics: Statistics


class Past:
    """One device's past. Positions grow by one with each change of the statistics.

    row_of: what the statistics hold of a labelled window, `HeadLearner.row_of`.
    """

    def __init__(self, row_of: RowOf) -> None:
        self._row_of = row_of
        self._steps = RecentSteps()
        # the steps are all that happened after this position
        self._since = 0
        self._marks: list[Moment] = []
        # all since the oldest mark, of labels that were learned before the newest one
        self._corrections: list[Step] = []
        self._new_marks: list[Moment] = []
        self._dropped: list[str] = []
        self._corrected = False
        self._position = 0

    def follow(self, operation: Operation, position: int) -> None:
        """The statistics were changed, to what they are at `position`."""
        self._position = position
        step = self._step(operation, position)
        if step is not None:
            self._keep(step)
            self._keep_correction(step)

    def mark(self, moment: Moment) -> None:
        """Keep a moment whole, because a branch may begin there."""
        if self._marks and self._marks[-1].position >= moment.position:
            return
        self._marks.append(moment)
        self._new_marks.append(moment)
        if len(self._marks) > MARKS_MAX:
            self._drop_oldest_mark()

    def at(self, position: int, now: Moment) -> Moment:
        """The first moment at or after `position` of which the statistics are known. now: the present one."""
        if position >= now.position:
            return now
        first = max(position, self._since)
        known = [mark for mark in self._marks if position <= mark.position < first]
        if known:
            return known[0]
        later = [step for step in self._steps if step.position > first]
        labels = now.labels - sum(step.is_new for step in later)
        return Moment(first, labels, now.statistics - _sum_of(later, now.statistics))

    def corrections(self, moment: Moment, labels: int) -> Statistics:
        """What corrections after `moment` changed about the first `labels` labels. The moment is one that `at` gave."""
        steps = self._steps if moment.position >= self._since else self._corrections
        later = [s for s in steps if s.position > moment.position and not s.is_new and s.number < labels]
        return _sum_of(later, moment.statistics)

    def rename(self, renames: Sequence[tuple[str, str]]) -> None:
        """Classes got other names (old, new)."""
        self._marks = [replace(mark, statistics=mark.statistics.renamed(renames)) for mark in self._marks]
        self._new_marks = list(self._marks)

    def take_changes(self, extent: Extent) -> Saved:
        if extent is Extent.EVERYTHING:
            self._new_marks, self._dropped = list(self._marks), []
        state = {f"{MARK}{mark.position}": _encoded(mark) for mark in self._new_marks if mark in self._marks}
        dropped, self._new_marks, self._dropped = tuple(self._dropped), [], []
        if extent is not Extent.CHANGES and (self._corrected or extent is Extent.EVERYTHING):
            # those since the last checkpoint are in the journal
            state[CORRECTIONS] = _encoded_steps(self._corrections, self._position)
            self._corrected = False
        return Saved(state, dropped)

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """The marks, and corrections up to the last checkpoint; `resume` brings the rest."""
        self._marks = sorted(
            (_decoded(payload) for name, payload in saved.items() if name.startswith(MARK)), key=lambda m: m.position
        )
        self._corrections, self._position = [], 0
        if CORRECTIONS in saved:
            self._corrections, self._position = _decoded_steps(saved[CORRECTIONS])

    def resume(self, entries: Iterable[tuple[int, Sequence[Operation]]], position: int) -> None:
        """Go on at `position`. entries: the newest changes, oldest first: the position after each, and its operations
        that change the statistics."""
        end = None
        for after, operations in entries:
            start = after - len(operations)
            if start != end:
                self._steps.clear()
                self._since = start
            for number, operation in enumerate(operations):
                step = self._step(operation, start + number + 1)
                if step is not None:
                    self._keep(step)
                    if step.position > self._position:
                        self._keep_correction(step)
            end = after
        if end != position:
            self._steps.clear()
            self._since = position
        self._position = position

    def _step(self, operation: Operation, position: int) -> Step | None:
        """The change that an operation made; None for one that only gave other names to the same sums."""
        match operation:
            case LearnLabel(number, features, label):
                row, index = self._row_of(features.codes, label)
                return Step(position, number, row, UNLABELLED, index)
            case CorrectLabel(number, features, before, after):
                row, index = self._row_of(features.codes, before)
                replacement, new = self._row_of(features.codes, after)
                same = new == UNLABELLED or np.array_equal(row, replacement)
                return Step(position, number, row, index, new, None if same else replacement)
        return None

    def _keep(self, step: Step) -> None:
        gone = self._steps.append(step)
        if gone is not None:
            self._since = gone

    def _keep_correction(self, step: Step) -> None:
        if step.is_new or not self._marks or step.number >= self._marks[-1].labels:
            return
        self._corrections.append(step)
        self._corrected = True
        if len(self._corrections) > CORRECTIONS_MAX:
            self._drop_oldest_mark()

    def _drop_oldest_mark(self) -> None:
        self._dropped.append(f"{MARK}{self._marks.pop(0).position}")
        oldest = self._marks[0].position if self._marks else self._position
        kept = [step for step in self._corrections if step.position > oldest]
        self._corrections, self._corrected = kept, self._corrected or len(kept) < len(self._corrections)


def _sum_of(steps: Iterable[Step], like: Statistics) -> Statistics:
    """What the steps changed together, with the classes of `like`."""
    total = Statistics.zeros(like.size, like.classes, like.space)
    added = [
        (step.code if step.replacement is None else step.replacement, step.after)
        for step in steps
        if step.after != UNLABELLED
    ]
    taken = [(step.code, step.before) for step in steps if step.before != UNLABELLED]
    if added:
        total = total + _statistics(added, like)
    return total - _statistics(taken, like) if taken else total


def _statistics(rows: Sequence[tuple[Int8, int]], like: Statistics) -> Statistics:
    codes, labels = np.concatenate([code for code, _ in rows]), np.array([label for _, label in rows], np.int64)
    return Statistics.of(codes, labels, like.classes, like.space)


def _encoded(mark: Moment) -> bytes:
    statistics = mark.statistics
    names: dict[str, JsonValue] = {"classes": list(statistics.classes), "space": statistics.space}
    meta = {"position": mark.position, "labels": mark.labels, "size": statistics.size, **names}
    return checked(encode_tensors(to_arrays(statistics), meta))


def _decoded(payload: bytes) -> Moment:
    arrays, meta = decode_tensors(unchecked(payload, "saved mark"), "saved mark", StoreError, MARK_BYTES_MAX)
    fields = Fields(meta, "saved mark", StoreError)
    numbers = fields.integer("position"), fields.integer("labels")
    shape = fields.integer("size", low=1), fields.strings("classes"), fields.text("space")
    fields.finish()
    try:
        return Moment(*numbers, from_arrays(arrays, *shape))
    except RemoteError as error:
        raise StoreError(f"saved mark is damaged: {error}") from error


def _encoded_steps(steps: Sequence[Step], position: int) -> bytes:
    rows = np.array([(s.position, s.number, s.before, s.after) for s in steps], np.int64).reshape(-1, 4)
    codes = np.concatenate([step.code for step in steps]) if steps else np.zeros((0, 1), np.int8)
    tensors: dict[str, AnyArray] = {"rows": rows, "codes": codes}
    if any(step.replacement is not None for step in steps):  # of targets; classes have none
        replacements = [step.code if step.replacement is None else step.replacement for step in steps]
        tensors["replacements"] = np.concatenate(replacements)
    return checked(encode_tensors(tensors, {"position": position}))


def _decoded_steps(payload: bytes) -> tuple[list[Step], int]:
    body = unchecked(payload, "saved corrections")
    arrays, meta = decode_tensors(body, "saved corrections", StoreError, MARK_BYTES_MAX)
    fields = Fields(meta, "saved corrections", StoreError)
    position = fields.integer("position")
    fields.finish()
    rows, codes = arrays.get("rows"), arrays.get("codes")
    if rows is None or codes is None or rows.ndim != 2 or rows.shape[1] != 4 or len(rows) != len(codes):
        raise StoreError("saved corrections are damaged")
    replacements = arrays.get("replacements", codes)
    if replacements.shape != codes.shape:
        raise StoreError("saved corrections are damaged")
    steps = [
        Step(at, number, code[None], before, after, None if replacements is codes else new[None])
        for (at, number, before, after), code, new in zip(rows.tolist(), codes, replacements, strict=True)
    ]
    return steps, position
