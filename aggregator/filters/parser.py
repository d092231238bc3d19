"""Reads a filter by recursive descent: bounded in length, depth and comparisons, one line for each mistake.

filter     = part ("or" part)*
part       = test ("and" test)*
test       = "not" test | "(" filter ")" | comparison
comparison = field [operator value] | field ["not"] "in" "(" value ("," value)* ")"
operator   = "==" | "!=" | "<" | "<=" | ">" | ">=" | "contains"
value      = "text" | number [unit] | "unknown" | "true" | "false"
"""

from __future__ import annotations

from aggregator.filters.conditions import (
    CONTAINS,
    EQUAL,
    KNOWN,
    ORDER,
    All,
    Any,
    Comparison,
    Condition,
    Flagged,
    InGroup,
    Not,
    Property,
)
from aggregator.filters.tokens import SHOWN_CHARACTERS, Sort, Token, refused, tokens_of
from aggregator.filters.vocabulary import UNITS, Field, Quantity, Vocabulary
from headway.errors import ConfigError
from headway.fields import nearest

CHARACTERS_MAX = 2000
DEPTH_MAX = 32
COMPARISONS_MAX = 200
UNEQUAL = "!="
GROUP = "group"
RESERVED = ("and", "or", "not", "in", "contains", "true", "false", "unknown")


def parse_filter(text: str, vocabulary: Vocabulary) -> Condition:
    """The condition that a text says. Raises ConfigError: what is wrong, at which character, and the fix."""
    if len(text) > CHARACTERS_MAX:
        raise ConfigError(
            f"the filter has {len(text)} characters; at most {CHARACTERS_MAX} are read: save parts as groups"
        )
    return _Parser(text, vocabulary).whole()


class _Parser:
    """Of one text; `_place` is the token that is looked at."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self._text, self._vocabulary = text, vocabulary
        self._tokens = tokens_of(text)
        self._place = self._comparisons = 0

    def whole(self) -> Condition:
        if not self._text.strip():
            raise ConfigError('the filter is empty; write a comparison, as in labels > 50 and tag.site == "north"')
        condition = self._either(0)
        if self._now.written == ")":
            raise self._refused("a parenthesis that nothing opened", "leave it out, or open it with (")
        if self._now.sort is not Sort.END:
            raise self._refused("two comparisons side by side", "join them with and, or")
        return condition

    def _either(self, depth: int) -> Condition:
        parts = [self._both(depth)]
        while self._take("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._test(depth)]
        while self._take("and"):
            parts.append(self._test(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _test(self, depth: int) -> Condition:
        if depth > DEPTH_MAX:
            raise self._refused(f"more than {DEPTH_MAX} levels of parentheses and not", "save a part of it as a group")
        if self._take("not"):
            return Not(self._test(depth + 1))
        if self._take("("):
            inner = self._either(depth + 1)
            if not self._take(")"):
                raise self._refused("a parenthesis that is not closed", "close it with )")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        self._comparisons += 1
        if self._comparisons > COMPARISONS_MAX:
            raise self._refused(f"more than {COMPARISONS_MAX} comparisons", "save a part of it as a group")
        field = self._now
        if field.sort is not Sort.WORD or field.written in RESERVED:
            raise self._refused("the name of a field is missing", 'write for example labels > 50 or bundle == "watch"')
        self._place += 1
        self._check_field(field)
        operator = self._now
        if operator.written in ("in", "not") and operator.sort is Sort.WORD:
            return self._one_of(field)
        if operator.written in (EQUAL, UNEQUAL, *ORDER, CONTAINS):
            self._place += 1
            return self._compared(field, operator, self._value())
        return self._alone(field)

    def _one_of(self, field: Token) -> Condition:
        """``field in (a, b)`` and ``field not in (a, b)``."""
        excluded = self._take("not")
        operator = self._now
        if not self._take("in") or not self._take("("):
            raise self._refused("a list is missing", f'write {field.shown} in ("a", "b")')
        parts = [self._compared(field, operator, self._value())]
        while self._take(","):
            self._comparisons += 1
            if self._comparisons > COMPARISONS_MAX:
                raise self._refused(f"more than {COMPARISONS_MAX} comparisons", "save a part of it as a group")
            parts.append(self._compared(field, operator, self._value()))
        if not self._take(")"):
            raise self._refused("the list is not closed", "separate its values with commas and close it with )")
        found = parts[0] if len(parts) == 1 else Any(tuple(parts))
        return Not(found) if excluded else found

    def _value(self) -> Token:
        value = self._now
        if value.sort in (Sort.NUMBER, Sort.TEXT) or value.written in ("true", "false", "unknown"):
            self._place += 1
            return value
        if value.sort is Sort.WORD:
            raise self._refused("a text without quotes", f'write "{value.shown}"')
        raise self._refused("a value is missing", 'write a number, a "text" or unknown')

    def _alone(self, field: Token) -> Condition:
        family, _, name = field.written.partition(".")
        if field.written in self._vocabulary.flags:
            return Flagged(field.written)
        if field.written in self._vocabulary.plain or name:
            return Property(family, name, KNOWN, "")
        raise self._refused(
            f"{field.shown} is compared with nothing", f"write {field.shown} == ... or another operator"
        )

    def _compared(self, field: Token, operator: Token, value: Token) -> Condition:
        if operator.written == UNEQUAL:
            return Not(self._compared(field, Token(Sort.SIGN, EQUAL, operator.at), value))
        sign = EQUAL if operator.written == "in" else operator.written
        family, _, name = field.written.partition(".")
        if field.written in self._vocabulary.flags:
            if sign != EQUAL or value.written not in ("true", "false"):
                raise self._at(value, f"{field.shown} holds or does not", f"write {field.shown} or not {field.shown}")
            return Flagged(field.written) if value.written == "true" else Not(Flagged(field.written))
        if sign in (*ORDER, CONTAINS) and value.written == "unknown" and value.sort is Sort.WORD:
            raise self._at(operator, f"{sign} with unknown", "write == unknown or != unknown")
        if field.written == GROUP:
            return self._group(operator, sign, value)
        if name or field.written in self._vocabulary.plain:
            return self._property(family, name, operator, sign, value)
        return self._of_row(self._vocabulary.fields[field.written], operator, sign, value)

    def _group(self, operator: Token, sign: str, value: Token) -> Condition:
        if sign != EQUAL or value.sort is not Sort.TEXT:
            raise self._at(operator, "a group is one by its name", 'write group == "canary" or group in ("a", "b")')
        return InGroup(str(value.value))

    def _property(self, family: str, name: str, operator: Token, sign: str, value: Token) -> Condition:
        if value.written == "unknown" and value.sort is Sort.WORD:
            return Not(Property(family, name, KNOWN, ""))
        if sign in ORDER or value.sort is not Sort.TEXT:
            raise self._at(
                operator if sign in ORDER else value, f"{family} is a text", 'write ==, !=, in or contains and a "text"'
            )
        return Property(family, name, sign, str(value.value))

    def _of_row(self, field: Field, operator: Token, sign: str, value: Token) -> Condition:
        if value.written == "unknown" and value.sort is Sort.WORD:
            empty = Comparison(field, EQUAL, "") if field.quantity is Quantity.TEXT else None
            return Not(Comparison(field, KNOWN, 0.0)) if empty is None else empty
        if field.quantity is Quantity.TEXT:
            if sign in ORDER:
                raise self._at(operator, f"{field.name} is a text, which has no order", "write ==, !=, in or contains")
            if value.sort is not Sort.TEXT:
                raise self._at(value, f"{field.name} is a text", f'write "{value.shown}"')
            text = str(value.value)
            if field.choices and sign == EQUAL and text not in field.choices:
                known = ", ".join(f'"{choice}"' for choice in field.choices)
                raise self._at(value, f"{field.name} is never {value.shown}", f"it is one of {known}")
            return Comparison(field, sign, text)
        if sign == CONTAINS:
            raise self._at(operator, f"{field.name} is {field.quantity}", "write ==, !=, <, <=, > or >=")
        return Comparison(field, sign, self._number(field, value))

    def _number(self, field: Field, value: Token) -> float:
        if value.sort is not Sort.NUMBER:
            raise self._at(value, f"{field.name} is {field.quantity}", "write a number" + _with_units(field))
        number = float(value.value)
        if not value.unit:
            return number
        units = UNITS.get(field.quantity, {})
        if value.unit not in units:
            raise self._at(
                value,
                f"{value.unit[:SHOWN_CHARACTERS]!r} is no unit of {field.name}",
                "write a number" + _with_units(field),
            )
        return number * units[value.unit]

    def _check_field(self, field: Token) -> None:
        vocabulary, written = self._vocabulary, field.written
        family, dot, name = written.partition(".")
        if written in (*vocabulary.fields, *vocabulary.plain, *vocabulary.flags, GROUP):
            return
        if dot and family in vocabulary.families and "." not in name:
            return
        if written in vocabulary.families:
            raise self._at(field, f"{written} needs a name", f'write for example {written}.site == "north"')
        hint = nearest(field.shown, vocabulary.words).removeprefix("; ")
        raise self._at(field, f"there is no field {field.shown}", hint)

    @property
    def _now(self) -> Token:
        return self._tokens[self._place]

    def _take(self, written: str) -> bool:
        """Pass the next token if it is this word or sign."""
        if self._now.written != written or self._now.sort not in (Sort.WORD, Sort.SIGN):
            return False
        self._place += 1
        return True

    def _refused(self, what: str, fix: str) -> ConfigError:
        return self._at(self._now, what, fix)

    def _at(self, token: Token, what: str, fix: str) -> ConfigError:
        return refused(self._text, token.at, what, fix)


def _with_units(field: Field) -> str:
    units = UNITS.get(field.quantity)
    return f", in {field.quantity} or with one of {', '.join(units)}" if units else ""
