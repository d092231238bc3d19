"""Numbers and moments as people read them; every function is a filter of the templates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from headway.printable import printable

UNKNOWN = "–"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
BYTES = ("B", "KB", "MB", "GB", "TB")


def span(seconds: float | None) -> str:
    """``42 s``, ``5 min``, ``3 h``, ``12 d``: the largest unit alone."""
    if seconds is None:
        return UNKNOWN
    seconds = max(0.0, seconds)
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= unit_s:
            return f"{int(seconds // unit_s)} {unit}"
    return f"{int(seconds)} s"


def ago(moment_s: float | None, now_s: float) -> str:
    """How long before now: ``5 min ago``."""
    if moment_s is None:
        return UNKNOWN
    return "just now" if now_s - moment_s < 5 else f"{span(now_s - moment_s)} ago"


def lasting(since_s: float, now_s: float) -> str:
    """How long something has been so: ``for 5 min``."""
    return f"for {span(max(now_s - since_s, 0.0))}"


def moment(moment_s: float | None) -> str:
    """A moment in UTC, to the minute."""
    return UNKNOWN if moment_s is None else _written(moment_s, "%Y-%m-%d %H:%M UTC")


def day(moment_s: float) -> str:
    """The day of a moment in UTC."""
    return _written(moment_s, "%Y-%m-%d")


def iso(moment_s: float) -> str:
    """For the attribute ``datetime``."""
    return _written(moment_s, "%Y-%m-%dT%H:%M:%SZ")


def _written(moment_s: float, form: str) -> str:
    """A clock that cannot have been right, as its number: a device tells what it likes."""
    try:
        return datetime.fromtimestamp(moment_s, UTC).strftime(form)
    except (OverflowError, ValueError, OSError):
        return f"{moment_s:g}"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as ``93.2 %``."""
    return UNKNOWN if share is None else f"{100 * share:.{digits}f} %"


def points(gain: float | None) -> str:
    """A difference of two shares as ``+3.1`` points; a true minus sign."""
    if gain is None:
        return UNKNOWN
    shown = f"{100 * gain:+.1f}"
    return ("0.0" if shown in ("+0.0", "-0.0") else shown).replace("-", "\N{MINUS SIGN}")


def number(value: float | None, digits: int = 0) -> str:
    """With a narrow blank between thousands."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def size(count: float | None) -> str:
    """Bytes in powers of 1000, as filters read them."""
    if count is None:
        return UNKNOWN
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(BYTES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {BYTES[unit]}" if unit == 0 or value >= 99.5 else f"{value:.1f} {BYTES[unit]}"


def shell(text: str) -> str:
    """As one word of a shell."""
    safe = printable(text)
    return safe if safe and all(c.isalnum() or c in "._-/:=" for c in safe) else "'" + safe.replace("'", "'\\''") + "'"


def in_path(text: str) -> str:
    """As a part of a path, or as a value of a query."""
    return quote(text, safe="")


FILTERS: dict[str, Callable[..., Any]] = {
    "ago": ago, "day": day, "in_path": in_path, "iso": iso, "lasting": lasting, "moment": moment, "number": number,
    "percent": percent, "points": points, "printable": printable, "shell": shell, "size": size, "span": span,
}  # fmt: skip
