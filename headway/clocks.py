"""Time as everything asks for it, and the machine's own: apart from `ports`, for commands that load little."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Source of time. Intervals come from `monotonic_s`; `wall_s` only labels things for people."""

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970 as the machine believes; may jump by years on a device without an RTC."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()
