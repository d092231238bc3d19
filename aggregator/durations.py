"""How long something lasts, as people write it."""

from __future__ import annotations

import re

from headway.errors import ConfigError

UNITS_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
WRITTEN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([a-z]+)", re.ASCII)


def duration_s(text: str) -> float:
    """``90s``, ``30m``, ``1.5h``, ``7d`` in seconds, more than none. Raises ConfigError."""
    match = WRITTEN.fullmatch(text.strip())
    if match is None or match[2] not in UNITS_S or not float(match[1]):
        raise ConfigError(f"{text!r} is no duration; write a number and one of {', '.join(UNITS_S)}: 90s, 30m or 7d")
    return float(match[1]) * UNITS_S[match[2]]
