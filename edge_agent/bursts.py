"""Tells which of many alike are worth saying: a flood of bad files must not flood the log and the fleet."""

from __future__ import annotations

# of a burst, said one by one; then the one that doubles their number
FEW = 8
# without any more of them, a burst is over
QUIET_S = 600.0


class Burst:
    """Counts what comes in quick succession."""

    def __init__(self) -> None:
        self._count = 0
        self._newest_s = 0.0

    def said(self, now_s: float) -> str | None:
        """One more of them: what to add to the words about it; None when it is only counted."""
        if now_s - self._newest_s > QUIET_S:
            self._count = 0
        self._count, self._newest_s = self._count + 1, now_s
        if self._count <= FEW:
            return ""
        return None if self._count & (self._count - 1) else f" ({self._count} by now; the next at {2 * self._count})"
