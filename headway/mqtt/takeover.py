"""Finds out that another client uses our id, where the broker does not say so.

Brokers such as mosquitto 2.0 close the connection of a client whose id another one uses, and say nothing. A broker that
went away does the same; but then it is away for a while, or has lost our session.
"""

from __future__ import annotations

# so many connections that worked and were closed without a word, within so many seconds
CLOSINGS = 3
WINDOW_S = 600.0


class SilentClosings:
    """Connections that had worked and were closed without a word, while the broker was there all the time."""

    def __init__(self) -> None:
        self._moments_s: list[float] = []

    def add(self, now_s: float) -> str:
        """One more, at `now_s` of the monotonic clock. How many there were, once that is a sign; else empty."""
        self._moments_s = [*(then_s for then_s in self._moments_s if now_s - then_s < WINDOW_S), now_s]
        if len(self._moments_s) < CLOSINGS:
            return ""
        return f"closed {len(self._moments_s)} times in {now_s - self._moments_s[0]:.0f} s, while the broker was there"

    def clear(self) -> None:
        """The broker was away, or has lost the session: that explains them."""
        self._moments_s = []
