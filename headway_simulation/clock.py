"""Simulates time: a heap of events, clocks that read it, and one stream of random numbers per part."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable


class Scheduler:
    """Events in the order of time, then of planning. `now_s` moves only when the next event is taken."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0
        self.now_s = 0.0
        self.events = 0

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Plan an action."""
        self.at(self.now_s + max(0.0, delay_s), action)

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Plan an action at a time that has not passed."""
        self._planned += 1
        heapq.heappush(self._heap, (max(time_s, self.now_s), self._planned, action))

    def step(self) -> bool:
        """Run the next event; False when there is none."""
        if not self._heap:
            return False
        self.now_s, _, action = heapq.heappop(self._heap)
        self.events += 1
        action()
        return True

    def chance(self, name: str) -> random.Random:
        """A stream of its own for one part, so that parts do not disturb each other's draws."""
        return random.Random(f"{self._seed}/{name}")


class SimulatedClock:
    """One machine's clocks. Implements `headway.ports.Clock`.

    The monotonic clock starts anew at each boot, the wall clock may jump by years: nothing may depend on either.
    """

    def __init__(self, scheduler: Scheduler, wall_s: float = 1_800_000_000.0) -> None:
        self._scheduler = scheduler
        self._booted_s = scheduler.now_s
        self._wall_s = wall_s

    def monotonic_s(self) -> float:
        return self._scheduler.now_s - self._booted_s

    def wall_s(self) -> float:
        return self._wall_s + self._scheduler.now_s

    def reboot(self) -> None:
        """The machine starts again."""
        self._booted_s = self._scheduler.now_s

    def jump(self, seconds: float) -> None:
        """Somebody, or a time server, sets the wall clock."""
        self._wall_s += seconds
