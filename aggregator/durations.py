"""How long something lasts, and when it was, as people write it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from headway.errors import ConfigError

UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
WRITTEN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]+)", re.ASCII)


def duration_s(text: str) -> float:
    """``90s``, ``30m``, ``1.5h``, ``7d`` in seconds, more than none. Raises ConfigError."""
    match = WRITTEN.fullmatch(text.strip())
    if match is None or match[2] not in UNITS_S or not float(match[1]):
        raise ConfigError(f"{text!r} is no duration; write a number and one of {', '.join(UNITS_S)}: 90s, 30m or 7d")
    return float(match[1]) * UNITS_S[match[2]]


def moment_s(text: str) -> float:
    """Wall clock of ``2026-11-28``, ``2026-11-28T10:00`` or with an offset; UTC without one. Raises ConfigError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text[:40]!r} is no time; write 2026-11-28 or 2026-11-28T10:00, in UTC") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def moment(at_s: float) -> str:
    """``2026-11-28 10:00:00``, UTC; a clock that cannot have been right as its number."""
    try:
        return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"{at_s:g}"
