"""How long something lasts, as people write it."""

from __future__ import annotations

import re

from headway.errors import ConfigError

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def duration_s(text: str) -> float:
    """``90s``, ``30m``, ``24h``, ``7d`` in seconds. Raises ConfigError."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None or int(match[1]) == 0:
        raise ConfigError(f"--expires {text!r} is no time; write 90s, 30m, 24h or 7d")
    return int(match[1]) * UNITS_S[match[2]]
