"""Reads JSON and TOML tables strictly: every key known, every value of its type and within its limits.

Used at each edge where bytes or settings come in; inside, dictionaries have become dataclasses.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping

from headway.errors import HeadwayError

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

# characters of a word of theirs that a message repeats, and names that it lists
TOLD_MAX, KNOWN_MAX = 200, 60


class Fields:
    """One table being read. Getters note the key as known; `finish` refuses the keys nobody asked for.

    `error` is the family to raise, `where` names the table in messages, e.g. ``[mqtt] in agent.toml``.
    """

    def __init__(self, table: object, where: str, error: type[HeadwayError]) -> None:
        if not isinstance(table, Mapping):
            raise error(f"{where} must be a table, got {_shown(table)}")
        self._table: Mapping[object, object] = table
        self._known: set[str] = set()
        self.where = where
        self.error = error

    def has(self, key: str) -> bool:
        """True when the table holds `key`."""
        self._known.add(key)
        return key in self._table

    def rename(self, old: str, new: str) -> bool:
        """Read `new` from the key `old`; False when `old` is not there. Giving both is an error."""
        if old not in self._table:
            return False
        if new in self._table:
            raise self.error(f"{self.where} has {old!r} beside {new!r}, which is its new name; leave {old!r} out")
        self._table = {new if key == old else key: value for key, value in self._table.items()}
        return True

    def text(self, key: str, default: str | None = None, *, length_max: int = 256) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or len(value) > length_max or "\0" in value:
            raise self._refused(key, value, f"text of at most {length_max} characters")
        return value

    def choice(self, key: str, known: tuple[str, ...], default: str | None = None) -> str:
        value = self._get(key, default)
        if not isinstance(value, str) or value not in known:
            near = nearest(str(value), tuple(map(str, known)))  # of members their values
            raise self._refused(key, value, f"one of {', '.join(known)}{near if '?' in near else ''}")
        return value

    def integer(self, key: str, default: int | None = None, *, low: int = 0, high: int = 2**53) -> int:
        value = self._get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._refused(key, value, f"a whole number from {low} to {high}")
        return value

    def number(
        self, key: str, default: float | None = None, *, low: float = -math.inf, high: float = math.inf
    ) -> float:
        value = self._get(key, default)
        # comparing instead of math.isfinite: a whole number of a thousand digits does not fit a float
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            raise self._refused(key, value, "a finite number")
        if not low <= value <= high:
            raise self._refused(key, value, f"a number from {low:g} to {high:g}")
        return float(value)

    def boolean(self, key: str, default: bool | None = None) -> bool:
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self._refused(key, value, "true or false")
        return value

    def strings(
        self, key: str, default: tuple[str, ...] | None = None, *, count_max: int = 4096, length_max: int = 256
    ) -> tuple[str, ...]:
        value = self._get(key, default)
        if not isinstance(value, (list, tuple)) or len(value) > count_max:
            raise self._refused(key, value, f"a list of at most {count_max} texts")
        for item in value:
            if not isinstance(item, str) or len(item) > length_max:
                raise self._refused(key, item, f"a list of texts of at most {length_max} characters")
        return tuple(value)

    def integers(
        self, key: str, *, low: int = 0, high: int = 2**53, count_max: int = 64, default: tuple[int, ...] | None = None
    ) -> tuple[int, ...]:
        value = self._get(key, default)
        if not isinstance(value, (list, tuple)) or len(value) > count_max:
            raise self._refused(key, value, f"a list of at most {count_max} whole numbers")
        for item in value:
            if not isinstance(item, int) or isinstance(item, bool) or not low <= item <= high:
                raise self._refused(key, item, f"whole numbers from {low} to {high}")
        return tuple(value)

    def numbers(
        self, key: str, *, low: float, high: float, count_max: int = 64, default: tuple[float, ...] | None = None
    ) -> tuple[float, ...]:
        value = self._get(key, default)
        if not isinstance(value, (list, tuple)) or len(value) > count_max:
            raise self._refused(key, value, f"a list of at most {count_max} numbers")
        for item in value:
            if not isinstance(item, (int, float)) or isinstance(item, bool) or not low <= item <= high:
                raise self._refused(key, item, f"numbers from {low:g} to {high:g}")
        return tuple(float(item) for item in value)

    def table(self, key: str) -> Fields:
        """A nested table; a missing one reads as empty."""
        self._known.add(key)
        return Fields(self._table.get(key, {}), f"{key} of {self.where}", self.error)

    def tables(self, key: str, *, count_max: int = 4096) -> list[Fields]:
        """A list of nested tables; a missing one reads as empty."""
        self._known.add(key)
        value = self._table.get(key, [])
        if not isinstance(value, (list, tuple)) or len(value) > count_max:
            raise self._refused(key, value, f"a list of at most {count_max} tables")
        return [Fields(item, f"{key}[{i}] of {self.where}", self.error) for i, item in enumerate(value)]

    def mapping(self, key: str) -> dict[str, JsonValue]:
        """A nested table taken as it is, for values that are only carried and shown."""
        self._known.add(key)
        value = self._table.get(key, {})
        if not isinstance(value, dict):
            raise self._refused(key, value, "a table")
        return value

    def optional(self) -> Fields:
        """What a reader may do without: the table under `optional`. Keys of it that nobody knows do not matter."""
        return self.table("optional")

    def finish(self) -> None:
        """Refuse unknown keys, naming the nearest known one."""
        for key in self._table:
            if key not in self._known:
                known = tuple(sorted(self._known))
                raise self.error(f"unknown key {_shown(key)} in {self.where}{nearest(str(key), known)}")

    def _get(self, key: str, default: object) -> object:
        self._known.add(key)
        value = self._table.get(key, default)
        if value is None:
            raise self.error(f"{self.where} lacks {key!r}")
        return value

    def _refused(self, key: str, value: object, wanted: str) -> HeadwayError:
        return self.error(f"{key} of {self.where} must be {wanted}, got {_shown(value)}")


def nearest(word: str, known: tuple[str, ...]) -> str:
    """``; did you mean 'host'?`` when something known is close, else the list of what is known."""
    import difflib  # for a mistake alone

    close = difflib.get_close_matches(word[:TOLD_MAX], known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(known) - KNOWN_MAX} more" if len(known) > KNOWN_MAX else ""
    return f"; known: {', '.join(known[:KNOWN_MAX])}{more}" if known else ""


def canonical_json(value: object) -> bytes:
    """The one byte form of a JSON value: sorted keys, no spaces, UTF-8, no NaN."""
    return _CANONICAL.encode(value).encode()


def readable_json(value: object) -> str:
    """A value for people and their programs, two spaces a level. NaN and Infinity, which JSON does not have and which
    stand for what is not known, become null."""
    return json.dumps(_without_nan(value), indent=2, allow_nan=False)


def json_line(value: object) -> str:
    """The same in one line."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False)


def parse_json(payload: bytes, where: str, error: type[HeadwayError], bytes_max: int = 1 << 20) -> object:
    """JSON with the holes closed: bounded, UTF-8, no duplicate keys, no NaN or Infinity, no number that does not fit a
    float64, bounded depth, and only texts that can be written again (an escaped half of a surrogate pair cannot)."""
    if len(payload) > bytes_max:
        raise error(f"{where} has {len(payload)} bytes; at most {bytes_max} are accepted")
    try:
        text = payload.decode("utf-8")
        # the decoder that looks at each whole number takes longer, and hardly any can be too large
        long = len(text) > FLOAT_DIGITS and _LONG.search(text)
        value: object = (_STRICT_NUMBERS if long else _STRICT).decode(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} is not valid JSON: {str(problem)[:120]}") from problem


def _without_nan(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {name: _without_nan(item) for name, item in value.items()}
        case list() | tuple():
            return [_without_nan(item) for item in value]
        case _:
            return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError(f"{digits[:40]} does not fit a float64")
    return value


def _whole(digits: str) -> int:
    value = int(digits)
    if abs(value) > sys.float_info.max:
        raise ValueError(f"{digits[:40]}... does not fit a float64")
    return value


# made once: json.dumps and json.loads would make one for each call that asks for anything special
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
_STRICT_NUMBERS = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole
)
# a whole number of fewer digits fits a float64
FLOAT_DIGITS = 309
# looked for where digits begin alone: else what is a little shorter would be gone through from each of its digits on
_LONG = re.compile(rf"(?<!\d)\d{{{FLOAT_DIGITS}}}")


# in a URL: who may log in, and with what
_LOGIN = re.compile(r"(?<=://).*@|(?<=password=)[^&]+")


def _shown(value: object) -> str:
    text = repr(value)
    if "://" in text:
        text = _LOGIN.sub("...", text)
    return text if len(text) <= 80 else text[:77] + "..."
