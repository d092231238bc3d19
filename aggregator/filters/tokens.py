"""Cuts a filter into words, numbers with units, quoted texts and signs, each with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from headway.errors import ConfigError
from headway.printable import is_printable

PATTERN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?P<unit>%|[A-Za-z]+)?
    | (?P<word>[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<sign>==|!=|<=|>=|<|>|\(|\)|,)
    )""",
    re.VERBOSE,
)
NUMBER_MAX = 2.0**63
EXCERPT_CHARACTERS = 24
SHOWN_CHARACTERS = 40
# what people write who know another language
FOREIGN: Mapping[str, str] = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not, or != to compare",
    "~": 'write contains, as in note contains "pump"',
    '"': "the text has no closing quote",
    "'": "the text has no closing quote",
    "“": 'write straight quotes: "..."',
    "”": 'write straight quotes: "..."',
    "*": 'write contains, as in device contains "pump"',
}


class Sort(StrEnum):
    """What a token is."""

    NUMBER = "number"
    WORD = "word"
    TEXT = "text"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """written: as it stands; value: of a text without quotes, of a number as a float; unit: of a number. at: its first
    character, from 0."""

    sort: Sort
    written: str
    at: int
    value: str | float = ""
    unit: str = ""

    @property
    def shown(self) -> str:
        """For messages, which stay short whatever was written."""
        return self.written[:SHOWN_CHARACTERS]


def refused(text: str, at: int, what: str, fix: str) -> ConfigError:
    """One line: where, what, and what to do instead."""
    excerpt = text[at : at + EXCERPT_CHARACTERS]
    place = f"at character {at + 1}, {excerpt!r}" if excerpt.strip() else "at the end"
    return ConfigError(f"filter, {place}: {what}; {fix}")


def tokens_of(text: str) -> list[Token]:
    """The tokens, `Sort.END` last. Raises ConfigError."""
    if not is_printable(text):
        at = next(place for place, character in enumerate(text) if not is_printable(character))
        raise refused(text, at, "a character that does not print", "leave it out")
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = PATTERN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            fix = FOREIGN.get(text[at], 'compare as in labels > 50 and tag.site == "north"')
            raise refused(text, at, "no part of a filter", fix)
        found.append(_token(text, match))
        at = match.end()
    return [*found, Token(Sort.END, "", end)]


def _token(text: str, match: re.Match[str]) -> Token:
    sort = Sort(next(name for name in ("number", "word", "text", "sign") if match[name] is not None))
    at, written = match.start(sort.value), match[sort.value]
    if sort is Sort.TEXT:
        return Token(sort, written, at, re.sub(r"\\(.)", r"\1", written[1:-1]))
    if sort is Sort.NUMBER:
        value = float(written)
        if not abs(value) < NUMBER_MAX:
            raise refused(text, at, "a number that is too large", "write one below 9e18")
        return Token(sort, written + (match["unit"] or ""), at, value, match["unit"] or "")
    return Token(sort, written, at, written)
