"""Whether one device meets a condition, where the rows are in memory."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable, Mapping
from typing import Any as Anything
from typing import Protocol

from aggregator.filters.conditions import (
    CONTAINS,
    EQUAL,
    KNOWN,
    All,
    Any,
    Comparison,
    Condition,
    Flagged,
    InGroup,
    Not,
    Property,
    bound_of,
)

COMPARED: Mapping[str, Callable[[Anything, Anything], bool]] = {
    EQUAL: operators.eq,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}


class Facts(Protocol):
    """What is known of one device."""

    def value(self, column: str) -> object:
        """A column of its row; None where it is not known."""
        ...

    def property(self, family: str, name: str) -> str | None:
        """A named text, None without one."""
        ...

    def flagged(self, flag: str) -> bool: ...

    def listed(self, group: str) -> bool:
        """Whether the group is a list with this device on it."""
        ...


def matches(condition: Condition, facts: Facts, now_s: float) -> bool:
    """Whether the device meets the condition. now_s: wall clock."""
    match condition:
        case Comparison(field):  # the most frequent first
            operator, value = bound_of(condition, now_s)
            return any(_holds(facts.value(column), operator, value) for column in field.columns)
        case All(parts):
            return all(matches(part, facts, now_s) for part in parts)
        case Any(parts):
            return any(matches(part, facts, now_s) for part in parts)
        case Not(part):
            return not matches(part, facts, now_s)
        case Property(family, name, operator, value):
            return _holds(facts.property(family, name), operator, value)
        case Flagged(flag):
            return facts.flagged(flag)
        case InGroup(group):
            return facts.listed(group)


def _holds(known: object, operator: str, value: str | float) -> bool:
    if known is None or operator == KNOWN:
        return known is not None
    if operator == CONTAINS:
        return str(value) in str(known)
    return COMPARED[operator](known, value)
