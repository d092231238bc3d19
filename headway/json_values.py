"""Numbers of a JSON document, by a path with dots; what home automation writes instead of numbers is read, too."""

from __future__ import annotations

import math
from collections.abc import Iterator

MISSING = frozenset({"", "unavailable", "unknown", "none", "null", "nan"})
SWITCHES = {"on": 1.0, "true": 1.0, "open": 1.0, "off": 0.0, "false": 0.0, "closed": 0.0}
DEPTH_MAX = 16


def number_at(found: object, path: str) -> float:
    """The number at ``a.b.c``, "" for the document itself; NaN where there is none.

    Raises ValueError for what is no number.
    """
    if isinstance(found, dict) and path in found:
        found, path = found[path], ""
    for key in path.split(".") if path else ():
        if isinstance(found, dict):
            found = found.get(key)
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            return math.nan
    return number_of(found, path)


def number_of(found: object, what: str = "it") -> float:
    """A number, a text that is one, a switch (on 1, off 0); NaN for nothing. Raises ValueError."""
    if found is None:
        return math.nan
    if isinstance(found, str):
        word = found.strip().lower()
        return math.nan if word in MISSING else SWITCHES[word] if word in SWITCHES else float(word)
    if isinstance(found, (bool, int, float)):
        return float(found)
    raise ValueError(f"{what} is no number")


def numbers_in(found: object, depth: int = 0) -> Iterator[float]:
    """All numbers of nested lists, in order. Raises ValueError."""
    if not isinstance(found, list):
        yield number_of(found)
        return
    if depth > DEPTH_MAX:
        raise ValueError("lists within lists")
    for each in found:
        yield from numbers_in(each, depth + 1)
