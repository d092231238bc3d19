"""Moments and ages as commands show them."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at_s: float) -> str:
    """``2026-11-28 10:00:00``, UTC; a clock that cannot have been right as its number."""
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{at_s:g}"


def age(seconds: float) -> str:
    """How long ago, in the largest unit that gives at least 1; a clock that was set back shows as 0 s."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{int(seconds // length_s)} {unit} ago"
    return f"{max(0, int(seconds))} s ago"
