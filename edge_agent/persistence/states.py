"""States last: a window is probably of the class of the window before, and how probably is learned here.

A head looks at one window at a time, so that its answers flicker. The forward filter of a hidden Markov model (Rabiner
1989) carries what was known of the last window over to the next one:

    before_t = belief_(t-1) moved on: class c stays with probability s_c, else any other comes, all alike
    belief_t ~ before_t * (what the head says of window t);  a label makes it certain

The probabilities of staying are counted from labels, and from windows of which the head alone is sure. The filter
answers only while labels show that it pays: each label is compared with what the head alone and what the filter said of
its window before the label came. In a stream whose order means nothing that does not happen.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from edge_agent.learner import Prediction
from edge_agent.pipeline import Features
from headway.arrays import Float32, Float64, Int8
from headway.samples import Label

# newest windows that a label may still be compared with
WINDOWS_MAX = 256
SURE = 0.9
# a count of this many transitions is halved, so that habits may change
TRANSITIONS_MAX = 512.0
# before anything is counted: two in three stay
STAYED, LEFT = 2.0, 1.0
GUESS_WEIGHT = 0.5
CERTAIN = 0.999
# in labels won, and in standard errors: what the filter must be ahead to begin; and how long it is remembered
LEAD_MIN, ERRORS_MIN = 1.0, 1.5
DISCOUNT = 0.995
# share of a log-loss, in nats and at most two of them, beside a right answer's worth of one
NATS_SHARE, NATS_MAX = 0.1, 2.0


@dataclass(slots=True)
class _Window:
    """codes: hash of its codes; alone, filtered: float64 (C,), by the head alone and with what came before; state: its
    class where that is known, else -1; labelled: whether a label says so."""

    codes: int
    alone: Float64
    filtered: Float64
    state: int = -1
    labelled: bool = False

    def know(self, state: int, labelled: bool) -> None:
        """Its class is known, by a label or by the head's own certainty."""
        self.state, self.labelled = state, labelled


class LastingStates:
    """Implements `edge_agent.persistence.Persistence` for classifiers."""

    name = "with how long classes last"

    def __init__(self) -> None:
        self._windows: deque[_Window] = deque(maxlen=WINDOWS_MAX)
        self._leads: deque[float] = deque(maxlen=WINDOWS_MAX)
        self._belief: Float64 = np.zeros(0)
        self._stayed: Float64 = np.zeros(0)
        self._left: Float64 = np.zeros(0)
        self.serving = False

    def serve(self, features: Features, served: Prediction) -> Prediction:
        classes = served.probability.shape[1]
        if classes != len(self._belief):
            self._begin(classes)
        filtered = [self._see(code, alone) for code, alone in zip(features.codes, served.probability, strict=True)]
        if not self.serving:
            return served
        return Prediction(np.array(filtered, np.float32).reshape(served.probability.shape), served.served_by)

    def labelled(self, features: Features, label: Label) -> None:
        codes = _hash(features.codes[0])
        place = next((at for at in range(len(self._windows) - 1, -1, -1) if self._windows[at].codes == codes), None)
        if place is None or self._windows[place].labelled or int(label) >= len(self._belief):
            return
        window = self._windows[place]
        self._compare(window, int(label))
        window.know(int(label), labelled=True)
        if place > 0:
            self._count(self._windows[place - 1], window)
        self._belief = np.full(len(self._belief), (1 - CERTAIN) / len(self._belief))
        self._belief[window.state] += CERTAIN
        for later in list(self._windows)[place + 1 :]:
            self._belief = self._moved_on(later.alone)

    def _begin(self, classes: int) -> None:
        self._belief = np.full(classes, 1.0 / classes)
        self._stayed, self._left = np.full(classes, STAYED), np.full(classes, LEFT)
        self._windows.clear()
        self._leads.clear()
        self.serving = False

    def _see(self, code: Int8, served: Float32) -> Float64:
        """One window more, int8 (d,), and float32 (C,) by the head alone. -> float64 (C,), with what came before."""
        alone = served.astype(np.float64)
        self._belief = self._moved_on(alone)
        window = _Window(_hash(code), alone, self._belief)
        if alone.max() >= SURE:
            window.know(int(alone.argmax()), labelled=False)
            if self._windows:
                self._count(self._windows[-1], window)
        self._windows.append(window)
        return self._belief

    def _moved_on(self, alone: Float64) -> Float64:
        """What is believed of the window after the last one. Probabilities that are not finite change nothing."""
        if len(alone) < 2 or not np.isfinite(alone).all():
            return self._belief
        going = self._belief * self._left / (self._stayed + self._left)
        before = self._belief - going + (going.sum() - going) / (len(going) - 1)
        together: Float64 = before * alone
        total = float(together.sum())
        return together / total if total > 0 else alone

    def _count(self, before: _Window, window: _Window) -> None:
        """A transition, where both ends are known."""
        if before.state < 0:
            return
        counts = self._stayed if before.state == window.state else self._left
        counts[before.state] += 1.0 if before.labelled and window.labelled else GUESS_WEIGHT
        if self._stayed[before.state] + self._left[before.state] > TRANSITIONS_MAX:
            self._stayed[before.state] /= 2
            self._left[before.state] /= 2

    def _compare(self, window: _Window, label: int) -> None:
        """Who would have been right, before the label came?"""
        least = np.finfo(np.float32).tiny
        nats = np.log(max(window.filtered[label], least)) - np.log(max(window.alone[label], least))
        right = float(window.filtered.argmax() == label) - float(window.alone.argmax() == label)
        self._leads.append(right + NATS_SHARE * float(np.clip(nats, -NATS_MAX, NATS_MAX)))
        weights = DISCOUNT ** np.arange(len(self._leads) - 1, -1, -1)
        won = np.array(self._leads)
        lead = float(weights @ won)
        error = float(np.sqrt((weights**2) @ np.square(won - lead / weights.sum())))
        self.serving = lead > 0 if self.serving else lead > max(LEAD_MIN, ERRORS_MIN * error)


def _hash(code: Int8) -> int:
    return hash(code.tobytes())
