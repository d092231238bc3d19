"""Labels on their way to the learner: with the window or later, in any order, twice, corrected, and in their turn.

    label -> known already? -> learned now, or it waits for its turn (edge_agent/training.py decides how many go)

The order of learning is the order in which labels came, whoever waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edge_agent.effects import LabelCounts
from edge_agent.labels.label_queue import LabelQueue, QueuedLabel, marked, marker
from edge_agent.labels.remembered import NOT_LEARNED, RememberedWindows, Window, unlabelled
from edge_agent.learner import Learner, Prediction
from edge_agent.pipeline import Features
from headway.arrays import AnyArray, Int8
from headway.samples import UNLABELLED, Label, no_label, row_label, same_label

UNBOUNDED = 2**53


class Labelling:
    """Beside one learner. learn: teaches it one label and returns its number; correct: changes a learned one;
    guess: teaches it a window by its own prediction, or undoes that (True).

    allowance: labels that may be learned before others must wait; rows_max, bytes_max: what may wait.
    drift_ahead: labels that wait will raise a drift alarm; whoever acts on it sets it back.
    """

    def __init__(
        self,
        learner: Learner,
        windows: RememberedWindows,
        learn: Callable[[Features, Label, Prediction], int],
        correct: Callable[[Window, Label], None],
        guess: Callable[[Features, int, bool], None],
    ) -> None:
        self._learner, self._windows = learner, windows
        self._learn, self._correct, self._guess = learn, correct, guess
        self.queue = LabelQueue()
        self.allowance = self.rows_max = self.bytes_max = UNBOUNDED
        self.drift_ahead = False

    def teach(self, window_id: str, features: Features, label: Label, served: Prediction) -> int:
        """Learn a label now, or let it wait where others wait or none may be learned.

        features: one window; window_id may be empty. Returns the label's number, or its marker while it waits.
        """
        if self.allowance > 0 and not len(self.queue):
            self.allowance -= 1
            return self._learn(features, label, served)
        while len(self.queue) and (len(self.queue) >= self.rows_max or self.queue.size_bytes >= self.bytes_max):
            self.learn_waiting(1)  # none is lost, whatever the policy says
        window = replace(unlabelled(features, served.probability, served.source, 0), label=label)
        number = self.queue.add(QueuedLabel(window_id, window))
        self.drift_ahead |= self.queue.foresee(self._learner)
        return marker(number)

    def remember(self, window_id: str, window: Window) -> None:
        """A window without a label: it may come later. Until then, a prediction beyond `self_training` stands in.

        The same window under the same id, delivered twice, keeps the label it has.
        """
        if self._delivered_again(window_id, window.codes):
            return
        self._windows.add(window_id, window)
        threshold = self._learner.settings.self_training
        if threshold and self.allowance > 0 and float(window.probability.max()) >= threshold:
            label = int(window.probability[0].argmax())
            self._guess(window.features, label, False)
            self._windows.guessed(window_id, label)

    def take_back(self, window_id: str, features: Features) -> None:
        """A labelled window: if it is delivered again, the label it had goes first, to the bit, so that it counts once.

        Another window under an id that was used before is a window of its own. features: the one window.
        """
        known = self._windows.get(window_id)
        if known is None or not self._delivered_again(window_id, features.codes):
            return
        if known.number < NOT_LEARNED:
            self.queue.remove(marked(known.number))
        else:
            self._correct(known, UNLABELLED)

    def learn_waiting(self, count: int) -> int:
        """Learn at most `count` of the labels that wait, the oldest first; returns how many. Commit afterwards."""
        learned = 0
        while learned < count and len(self.queue):
            number, waiting = self.queue.take()
            window = waiting.window
            taught = self._learn(window.features, window.label, window.served)
            known = self._windows.get(waiting.window_id)
            if known is not None and known.number == marker(number):
                self._windows.relabel(waiting.window_id, window.label, taught)
            learned += 1
        return learned

    def label(self, ids: Sequence[str], labels: AnyArray) -> LabelCounts:
        """Labels for windows seen earlier: late, in any order, repeated, corrected or taken back. Commit after.

        labels: int64 (n,), -1 for none, or targets float32 (n, C), NaN where unknown; no label takes the earlier one
        back. A label for a window that is no longer remembered is counted as unknown.
        """
        counts = LabelCounts()
        for row, window_id in enumerate(ids):
            label, known = row_label(labels, row), self._windows.get(window_id)
            if known is None:
                counts.unknown += 1
            elif same_label(known.label, label) or (no_label(known.label) and no_label(label)):
                counts.repeated += 1
            elif no_label(known.label):
                self._withdraw(window_id, known)
                number = self.teach(window_id, known.features, label, known.served)
                self._windows.relabel(window_id, label, number)
                counts.learned += number >= 0
                counts.waiting += number < 0
            elif known.number < NOT_LEARNED:
                self._correct_waiting(window_id, marked(known.number), label)
                counts.corrected += 1
            else:
                self._correct(known, label)
                self._windows.relabel(window_id, label, known.number)
                counts.corrected += 1
        return counts

    def _delivered_again(self, window_id: str, codes: Int8) -> bool:
        """Whether a window that was labelled before has come once more. codes: int8 (1, d)."""
        known = self._windows.get(window_id)
        return known is not None and not no_label(known.label) and np.array_equal(known.codes, codes)

    def _withdraw(self, window_id: str, known: Window) -> None:
        """The true label has come: what the learner taught itself of this window goes, to the bit."""
        if known.guess != UNLABELLED:
            self._guess(known.features, known.guess, True)
            self._windows.guessed(window_id, UNLABELLED)

    def _correct_waiting(self, window_id: str, number: int, label: Label) -> None:
        """A label that was not learned yet is another one, or none, as if that had come in the first place."""
        if no_label(label):
            self.queue.remove(number)
            self._windows.relabel(window_id, UNLABELLED, NOT_LEARNED)
        else:
            self.queue.relabel(number, label)
            self._windows.relabel(window_id, label, marker(number))
