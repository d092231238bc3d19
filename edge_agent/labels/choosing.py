"""Chooses which windows people are asked about, in which order: the one place that does.

    remembered windows without a label -> least certain first -> message `labels-wanted` (wanted.py)
                                                              -> event `labels-wanted` (events.py)
                                                              -> the one window in Home Assistant (home_assistant)

Least certain is the smallest margin between the two most probable classes, as they were served (margin sampling:
Scheffer, Decomain and Wrobel, 2001); where outputs are no probabilities of classes, the smallest largest output. Among
equals the newer window comes first. Windows about which nobody wants to say anything are dismissed, and never chosen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner import HeadLearner
from headway.arrays import Float32
from headway.maths import Task
from headway.wire import can_be_asked_about

DISMISSED_MAX = 1024


class WindowChoice:
    """Beside one learner; `windows` are those that may be asked about."""

    def __init__(self, learner: HeadLearner, windows: RememberedWindows) -> None:
        self._learner, self._windows = learner, windows
        self._certain: dict[str, float] = {}
        self._dismissed: OrderedDict[str, None] = OrderedDict()
        self._ranked: list[str] = []
        self._looked: object = None

    def ranked(self, without: frozenset[str] = frozenset()) -> list[str]:
        """Ids of windows that may be asked about and are not in `without`, the least certain first."""
        if self._looked != self._windows.version:
            self._looked, self._ranked = self._windows.version, self._rank()
        return [window_id for window_id in self._ranked if window_id not in without]

    def seen(self, window_id: str) -> None:
        """A window of this id came, maybe in the place of another one."""
        self._certain.pop(window_id, None)

    def dismiss(self, window_id: str) -> None:
        """Choose a window no more."""
        self._dismissed[window_id] = None
        self._looked = None
        while len(self._dismissed) > DISMISSED_MAX:
            self._dismissed.popitem(last=False)

    def readmit(self, window_id: str) -> bool:
        """Take that back; False where there was nothing to take back."""
        if window_id not in self._dismissed:
            return False
        del self._dismissed[window_id]
        self._looked = None
        return True

    @property
    def dismissed(self) -> tuple[str, ...]:
        """Ids, the oldest first."""
        return tuple(self._dismissed)

    def restore(self, dismissed: Sequence[str]) -> None:
        """What was dismissed before a restart."""
        self._dismissed, self._looked = OrderedDict.fromkeys(dismissed), None

    def _rank(self) -> list[str]:
        waiting = dict(self._windows.without_label())
        for gone in [window_id for window_id in self._dismissed if self._windows.get(window_id) is None]:
            del self._dismissed[gone]
        measure = _margin if self._learner.task is Task.CLASSIFICATION else _largest
        self._certain = {
            window_id: self._certain[window_id] if window_id in self._certain else measure(window.probability)
            for window_id, window in waiting.items()
        }
        ages = {window_id: -age for age, window_id in enumerate(waiting)}
        asked = [each for each in waiting if each not in self._dismissed and can_be_asked_about(each)]
        return sorted(asked, key=lambda window_id: (self._certain[window_id], ages[window_id]))


def _margin(probability: Float32) -> float:
    """Between the two most probable classes. float32 (1, C)."""
    two = np.sort(probability[0])[-2:]
    return float(two[-1] - two[0]) if len(two) > 1 else 1.0


def _largest(output: Float32) -> float:
    """float32 (1, C)."""
    return float(output.max())
