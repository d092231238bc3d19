"""Moments and ages as commands show them."""

from __future__ import annotations

from aggregator.durations import moment

__all__ = ["age", "moment"]


def age(seconds: float) -> str:
    """How long ago, in the largest unit that gives at least 1; a clock that was set back shows as 0 s."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{int(seconds // length_s)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"
