"""Measures how fast a device works: windows, answers and labels by time, and from drop to answer; bounded in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from edge_agent.condition import Figures
from edge_agent.sensors import Claimed
from headway.ports import Clock

# windows and answers are counted over the last minute, labels over the last day
SECONDS, HOUR_S, HOURS = 60, 3600.0, 24
# the newest answers whose time is known
LATENCIES_MAX = 512


class Pace:
    """Of one run of the agent. labels: learned by earlier runs.

    Times to an answer begin when a file is dropped, and of a source's windows when the last row of the oldest one of
    those that are answered together comes.
    """

    def __init__(self, clock: Clock, labels: int) -> None:
        self._clock, self._began_s = clock, clock.monotonic_s()
        # second of the monotonic clock, windows, answers
        self._seconds: deque[list[int]] = deque(maxlen=SECONDS)
        # hour since the start, labels learned until it began
        self._hours: deque[tuple[int, int]] = deque([(0, labels)], maxlen=HOURS + 1)
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_MAX)

    def took(self, windows: int) -> None:
        """So many windows were taken in."""
        self._second()[1] += windows

    def answered(self, files: Iterable[Claimed], windows: int) -> None:
        """The answers to these files, of so many windows, are on the disk."""
        self._second()[2] += windows
        wall_s = self._clock.wall_s()
        for file in files:
            # a clock that was set meanwhile tells nothing
            if file.came_s is not None and wall_s >= file.came_s:
                self._latencies_s.append(wall_s - file.came_s)

    def figures(self, labels: int) -> Figures:
        """As it is now. labels: learned so far, also by earlier runs."""
        now_s = self._clock.monotonic_s()
        hour = int((now_s - self._began_s) // HOUR_S)
        if self._hours[-1][0] < hour:
            self._hours.append((hour, labels))
        # of the hour that began a day ago, or the first since
        known = next(each for each in self._hours if each[0] >= hour - HOURS)
        days = max(HOUR_S, now_s - self._began_s - known[0] * HOUR_S) / (HOURS * HOUR_S)
        recent = [row for row in self._seconds if now_s - row[0] <= SECONDS]
        over_s = min(float(SECONDS), max(1.0, now_s - self._began_s))
        times_s = sorted(self._latencies_s)
        return Figures(
            round(sum(row[1] for row in recent) / over_s, 2),
            round(sum(row[2] for row in recent) / over_s, 2),
            round((labels - known[1]) / days, 1),
            len(times_s),
            _quantile(times_s, 0.5),
            _quantile(times_s, 0.99),
        )

    def _second(self) -> list[int]:
        second = int(self._clock.monotonic_s())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        return self._seconds[-1]


def _quantile(ordered: list[float], share: float) -> float:
    """The smallest value that so many are not above; 0 of none."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) if ordered else 0.0
