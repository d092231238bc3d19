"""Chooses the one window whose label is asked for: of the newest, the least certain one without a label.

It stays the same until it has a label, is skipped, is forgotten or is an hour old, so that a person who looks at it and
one who presses a button mean the same window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from headway.wire import AskedWindow, WindowAnswer

# what people may still remember
CANDIDATES_MAX = 256
AGE_S_MAX = 3600.0
CLOSED_MAX = 1024


class AskedWindowChoice:
    """Of one device. open_: whether a window of this id is remembered and has no label."""

    def __init__(self, open_: Callable[[str], bool]) -> None:
        self._open = open_
        self._candidates: deque[AskedWindow] = deque(maxlen=CANDIDATES_MAX)
        # labelled or skipped; a label takes a moment until it is learned
        self._closed: deque[str] = deque(maxlen=CLOSED_MAX)
        self._now: AskedWindow | None = None

    def add(self, answer: WindowAnswer) -> None:
        """A window was answered."""
        if answer.id and answer.label:
            probability = answer.outputs.get(answer.label, 0.0)
            self._candidates.append(AskedWindow(answer.id, answer.wall_s, answer.label, probability))

    def close(self, window_id: str) -> None:
        """It is not asked for any more."""
        if window_id not in self._closed:
            self._closed.append(window_id)

    def now(self, wall_s: float) -> AskedWindow | None:
        """The window to ask for; None where there is none. wall_s: Unix time."""
        if self._now is None or not self._fits(self._now, wall_s):
            fitting = [window for window in reversed(self._candidates) if self._fits(window, wall_s)]
            self._now = min(fitting, key=lambda window: window.probability, default=None)
        return self._now

    def _fits(self, window: AskedWindow, wall_s: float) -> bool:
        young = abs(wall_s - window.wall_s) < AGE_S_MAX
        return young and window.id not in self._closed and self._open(window.id)
