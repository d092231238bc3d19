"""Shows the one window whose label is asked for: of the newest answers, the first that the device's choice names.

It stays the same until it has a label, is skipped, is forgotten or is an hour old, so that a person who looks at it and
one who presses a button mean the same window.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from headway.wire import AskedWindow, WindowAnswer

# what people may still remember
CANDIDATES_MAX = 256
AGE_S_MAX = 3600.0
CLOSED_MAX = 1024


class AskedWindowView:
    """Of one device. ranked: ids of windows that may be asked about, the least certain first."""

    def __init__(self, ranked: Callable[[], Sequence[str]]) -> None:
        self._ranked = ranked
        self._candidates: OrderedDict[str, AskedWindow] = OrderedDict()
        # labelled or skipped; a label takes a moment until it is learned
        self._closed: deque[str] = deque(maxlen=CLOSED_MAX)
        self._now: AskedWindow | None = None

    def add(self, answer: WindowAnswer) -> None:
        """A window was answered."""
        if answer.id and answer.label:
            self._candidates.pop(answer.id, None)
            probability = answer.outputs.get(answer.label, 0.0)
            self._candidates[answer.id] = AskedWindow(answer.id, answer.wall_s, answer.label, probability)
            while len(self._candidates) > CANDIDATES_MAX:
                self._candidates.popitem(last=False)

    def close(self, window_id: str) -> None:
        """It is not asked for any more."""
        if window_id not in self._closed:
            self._closed.append(window_id)

    def now(self, wall_s: float) -> AskedWindow | None:
        """The window to ask for; None where there is none. wall_s: Unix time."""
        ranked = self._ranked()
        if self._now is None or self._now.id not in ranked or not self._fits(self._now, wall_s):
            named = (self._candidates[each] for each in ranked if each in self._candidates)
            self._now = next((window for window in named if self._fits(window, wall_s)), None)
        return self._now

    def _fits(self, window: AskedWindow, wall_s: float) -> bool:
        return abs(wall_s - window.wall_s) < AGE_S_MAX and window.id not in self._closed
