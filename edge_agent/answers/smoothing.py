"""Smooths classes over time, for people: what is learned and what is reported never changes by it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Protocol

from edge_agent.answer_settings import HYSTERESIS, MAJORITY, MINIMUM_DURATION, AnswerSettings


class Smoothing(Protocol):
    """Of one stream of windows, in order of time."""

    def next(self, label: str, probabilities: Mapping[str, float]) -> str:
        """The smoothed class after one more answer. label: the most probable class."""
        ...


class NoSmoothing:
    """Gives nothing."""

    def next(self, label: str, probabilities: Mapping[str, float]) -> str:
        return ""


class Majority:
    """The most frequent of the last `windows` answers; among equals the one that was given last."""

    def __init__(self, windows: int) -> None:
        self._last: deque[str] = deque(maxlen=windows)

    def next(self, label: str, probabilities: Mapping[str, float]) -> str:
        self._last.append(label)
        counts = Counter(reversed(self._last))  # of equals the first that it met comes first
        return counts.most_common(1)[0][0]


class Hysteresis:
    """A class stays while it has probability `leave`; then the most probable one follows, if it has `enter`."""

    def __init__(self, enter: float, leave: float) -> None:
        self._enter, self._leave, self._now = enter, leave, ""

    def next(self, label: str, probabilities: Mapping[str, float]) -> str:
        stays = self._now and probabilities.get(self._now, 0.0) >= self._leave
        if not self._now or (not stays and probabilities.get(label, 0.0) >= self._enter):
            self._now = label
        return self._now


class MinimumDuration:
    """Another class follows once `windows` answers in a row have named it."""

    def __init__(self, windows: int) -> None:
        self._windows, self._now, self._next, self._run = windows, "", "", 0

    def next(self, label: str, probabilities: Mapping[str, float]) -> str:
        self._run = self._run + 1 if label == self._next else 1
        self._next = label
        if not self._now or self._run >= self._windows:
            self._now = label
        return self._now


def smoothing_of(settings: AnswerSettings) -> Smoothing:
    """What the settings ask for."""
    match settings.smoothing:
        case kind if kind == MAJORITY:
            return Majority(settings.smoothing_windows)
        case kind if kind == HYSTERESIS:
            return Hysteresis(settings.smoothing_enter, settings.smoothing_leave)
        case kind if kind == MINIMUM_DURATION:
            return MinimumDuration(settings.smoothing_windows)
        case _:
            return NoSmoothing()
