"""Turns labels into operations on the learner: with the window or later, in any order, twice, corrected, in turn.

    label -> known already? -> learned now, or it waits for its turn (edge_agent/training.py decides how many go)

Every method gives the operations that follow, one by one: each must be applied to the learner before the next is asked
for. The order of learning is the order in which labels came, whoever waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_agent.effects import LabelCounts
from edge_agent.labels.early_labels import EarlyLabels
from edge_agent.labels.label_queue import LabelQueue, QueuedLabel, marked, marker
from edge_agent.labels.remembered import NOT_LEARNED, RememberedWindows, Window, unlabelled
from edge_agent.labels.wanted import WantedLabels
from edge_agent.labels_wanted_settings import LabelsWantedSettings
from edge_agent.learner import (
    AddPseudoLabel,
    AdoptWindowMeans,
    CorrectLabel,
    HeadLearner,
    LearnLabel,
    Operation,
    Prediction,
    WithdrawPseudoLabel,
)
from edge_agent.pipeline import Features
from edge_agent.store import Persisted
from headway.arrays import AnyArray, Float32, Int8
from headway.samples import UNLABELLED, Label, is_labelled, no_label, row_label, same_label

UNBOUNDED = 2**53


class Labelling:
    """Beside one learner. rows_max, bytes_max: labels that may wait, in number and encoded size; early_max: labels that
    may wait for their windows; asking: how people are asked for labels.

    drift_ahead: labels that wait will raise a drift alarm, see `take_drift_ahead`.
    """

    def __init__(
        self,
        learner: HeadLearner,
        windows: RememberedWindows,
        rows_max: int = UNBOUNDED,
        bytes_max: int = UNBOUNDED,
        early_max: int = 0,
        asking: LabelsWantedSettings | None = None,
    ) -> None:
        self._learner, self._windows = learner, windows
        self._rows_max, self._bytes_max = rows_max, bytes_max
        self._allowance = UNBOUNDED
        self.queue, self.early = LabelQueue(), EarlyLabels(early_max)
        self.wanted = WantedLabels(learner, windows, asking or LabelsWantedSettings())
        self.drift_ahead = False

    @property
    def persisted(self) -> tuple[Persisted, ...]:
        """What the store must keep of it, beside the windows."""
        return self.queue, self.early, self.wanted

    def allow(self, labels_max: int) -> None:
        """From now on so many labels may be learned when they come; the others wait."""
        self._allowance = labels_max

    def take_drift_ahead(self) -> bool:
        """Whether labels that wait will raise a drift alarm; given once."""
        ahead, self.drift_ahead = self.drift_ahead, False
        return ahead

    def take(
        self, features: Features, label: Label, ids: Sequence[str] | None, served: Prediction
    ) -> Iterator[Operation]:
        """Windows that one head served: one with its label, or any number without.

        ids: of the windows; None when nobody will come back to them. served: the predictions for them.
        """
        yield from self._and_guess(self._take(features, label, ids, served))

    def _take(
        self, features: Features, label: Label, ids: Sequence[str] | None, served: Prediction
    ) -> Iterator[Operation]:
        if no_label(label):
            for row, window_id in enumerate(ids or ()):
                yield from self._remember(window_id, unlabelled(features, served, row))
        elif ids is None:
            yield from self._learn_or_queue("", features, label, served)
        else:
            self.early.take(ids[0])  # what comes with the window is newer
            yield from self._take_back(ids[0], features)
            self._windows.add(ids[0], unlabelled(features, served, 0))
            yield from self._learn_or_queue(ids[0], features, label, served, remembered=True)

    def take_late(self, window_id: str, label: Label, counts: LabelCounts) -> Iterator[Operation]:
        """The label of a window seen earlier: late, repeated, corrected or, without one, taken back.

        counts: what became of it is added there; a window that is no longer remembered is unknown.
        """
        yield from self._and_guess(self._take_late(window_id, label, counts))

    def _take_late(self, window_id: str, label: Label, counts: LabelCounts) -> Iterator[Operation]:
        known = self._windows.get(window_id)
        if known is None:
            self._take_early(window_id, label, counts)
        elif same_label(known.label, label) or (no_label(known.label) and no_label(label)):
            counts.add(repeated=1)
        elif no_label(known.label):
            yield from self._withdraw_pseudo_label(window_id, known)
            counts.add(learned=not self._must_wait, waiting=self._must_wait)
            yield from self._learn_or_queue(window_id, known.features, label, known.served, remembered=True)
        elif known.number < NOT_LEARNED:
            self._correct_waiting(window_id, marked(known.number), label)
            counts.add(corrected=1)
        else:
            yield CorrectLabel(known.number, known.features, known.label, label)
            self._windows.relabel(window_id, label, known.number)
            counts.add(corrected=1)

    def _take_early(self, window_id: str, label: Label, counts: LabelCounts) -> None:
        """The label of a window that is not remembered, and maybe never came: it waits, or is taken back."""
        before = self.early.get(window_id)
        if before is not None and same_label(before, label):
            counts.add(repeated=1)
        elif no_label(label):
            found = self.early.take(window_id)
            counts.add(unknown=found is None, corrected=found is not None)
        elif before is not None:
            self.early.add(window_id, label)
            counts.add(corrected=1)
        elif self.early.takes_any:
            counts.add(unknown=1, early=1, forgotten=self.early.add(window_id, label))
        else:
            counts.add(unknown=1)

    def learn_waiting(self, count: int) -> Iterator[Operation]:
        """At most `count` of the labels that wait, the oldest first."""
        yield from self._and_guess(self._learn_waiting(count))

    def _learn_waiting(self, count: int) -> Iterator[Operation]:
        learned = 0
        while learned < count and len(self.queue):
            number, waiting = self.queue.take()
            window = waiting.window
            operation = LearnLabel(self._learner.trainer.labels, window.features, window.label, window.served)
            yield operation
            known = self._windows.get(waiting.window_id)
            if known is not None and known.number == marker(number):
                self._windows.relabel(waiting.window_id, window.label, operation.number)
            learned += 1

    @property
    def _must_wait(self) -> bool:
        return self._allowance <= 0 or len(self.queue) > 0

    def _learn_or_queue(
        self, window_id: str, features: Features, label: Label, served: Prediction, *, remembered: bool = False
    ) -> Iterator[Operation]:
        """Learn a label now, or let it wait where others wait or none may be learned. features: one window."""
        if not self._must_wait:
            self._allowance -= 1
            number = self._learner.trainer.labels
            yield LearnLabel(number, features, label, served)
        else:
            while len(self.queue) and (len(self.queue) >= self._rows_max or self.queue.size_bytes >= self._bytes_max):
                yield from self._learn_waiting(1)  # none is lost, whatever the policy says
            window = replace(unlabelled(features, served, 0), label=label)
            number = marker(self.queue.add(QueuedLabel(window_id, window)))
            self.drift_ahead |= self.queue.foresee(self._learner)
        if remembered:
            self._windows.relabel(window_id, label, number)

    def _remember(self, window_id: str, window: Window) -> Iterator[Operation]:
        """A window without a label: it may come later. Until then, a prediction beyond `self_training` stands in,
        where every class has a label.

        The same window under the same id, delivered twice, keeps the label it has.
        """
        if self._delivered_again(window_id, window.codes):
            return
        self._windows.add(window_id, window)
        early = self.early.take(window_id)
        if early is not None:
            there = self._windows.get(window_id) is not None
            yield from self._learn_or_queue(window_id, window.features, early, window.served, remembered=there)
        elif self._guesses and self._allowance > 0:
            yield from self._guess(window_id, window, window.probability[0])

    @property
    def _guesses(self) -> bool:
        """Whether windows may be learned by their own prediction."""
        return self._learner.settings.self_training > 0 and self._learner.labels_of_every_class

    def _guess(self, window_id: str, window: Window, probability: Float32) -> Iterator[Operation]:
        """Learn a window by a prediction that is sure enough. probability: float32 (C,)."""
        label = int(probability.argmax())
        if float(probability[label]) >= self._learner.settings.self_training:
            yield AddPseudoLabel(window.features, label)
            self._windows.note_pseudo_label(window_id, label)

    def _and_guess(self, operations: Iterator[Operation]) -> Iterator[Operation]:
        """What follows a label; where every class has one, also what it says of the windows without."""
        guessed, labelled = self._guesses, False
        for operation in operations:
            yield operation
            labelled |= isinstance(operation, LearnLabel | CorrectLabel)
        if not labelled or not self._learner.settings.self_training:
            return
        if self._guesses and not guessed:
            yield from self._guess_remembered()
        windows = [window.codes for _, window in self._windows.without_label()]
        codes = np.concatenate(windows) if windows else np.zeros((0, self._learner.feature_size), np.int8)
        class_sums = self._learner.trainer.guess_windows(codes)
        if class_sums is not None:
            yield AdoptWindowMeans(class_sums)

    def _guess_remembered(self) -> Iterator[Operation]:
        """Windows that came before every class had a label, by the head that there is now."""
        for window_id, window in self._windows.without_label():
            if window.pseudo_label == UNLABELLED:
                yield from self._guess(window_id, window, self._learner.predict(window.features).probability[0])

    def _take_back(self, window_id: str, features: Features) -> Iterator[Operation]:
        """A labelled window: if it is delivered again, the label it had goes first, to the bit, so that it counts once.

        Another window under an id that was used before is a window of its own. features: the one window.
        """
        known = self._windows.get(window_id)
        if known is None or not self._delivered_again(window_id, features.codes):
            return
        if known.number < NOT_LEARNED:
            self.queue.remove(marked(known.number))
        else:
            yield CorrectLabel(known.number, known.features, known.label, UNLABELLED)

    def _delivered_again(self, window_id: str, codes: Int8) -> bool:
        """Whether a window that was labelled before has come once more. codes: int8 (1, d)."""
        known = self._windows.get(window_id)
        return known is not None and not no_label(known.label) and np.array_equal(known.codes, codes)

    def _withdraw_pseudo_label(self, window_id: str, known: Window) -> Iterator[Operation]:
        """The true label has come: what the learner learned of this window by its own prediction goes, to the bit."""
        if known.pseudo_label != UNLABELLED:
            yield WithdrawPseudoLabel(known.features, known.pseudo_label)
            self._windows.note_pseudo_label(window_id, UNLABELLED)

    def _correct_waiting(self, window_id: str, number: int, label: Label) -> None:
        """A label that was not learned yet is another one, or none, as if that had come in the first place."""
        if no_label(label):
            self.queue.remove(number)
            self._windows.relabel(window_id, UNLABELLED, NOT_LEARNED)
        else:
            self.queue.relabel(number, label)
            self._windows.relabel(window_id, label, marker(number))


def rows_in_turn(labels: AnyArray | None, count: int) -> Iterator[tuple[slice, Label]]:
    """Rows that one head serves, in order: each labelled row alone with its label, the rows between them together."""
    start = 0
    while start < count:
        stop = _next_labelled(labels, start, count)
        yield slice(start, stop), UNLABELLED if labels is None else row_label(labels, start)
        start = stop


def _next_labelled(labels: AnyArray | None, start: int, count: int) -> int:
    """End of the run that one head can serve: a labelled row alone, or all rows up to the next labelled one."""
    if labels is None:
        return count
    if not no_label(row_label(labels, start)):
        return start + 1
    later = np.flatnonzero(is_labelled(labels[start:]))
    return start + int(later[0]) if len(later) else count
