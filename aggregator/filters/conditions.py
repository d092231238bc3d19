"""What a parsed filter is: a tree of a few kinds of conditions, in which every value is a value and never code.

Truth is two-valued: a comparison with what is not known is false, and `Not` turns exactly that around, so that
``labels != 3`` is ``not labels == 3`` on every store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt

from aggregator.filters.vocabulary import Field, Quantity

EQUAL, CONTAINS, KNOWN = "==", "contains", "known"
ORDER = ("<", "<=", ">", ">=")
HOLDS: dict[str, Callable[[float, float], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge, EQUAL: eq}
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", EQUAL: EQUAL, KNOWN: KNOWN}


@dataclass(frozen=True, slots=True)
class All:
    """Every one of `parts` holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one of `parts` holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`part` does not hold."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field against a value in its base unit. operator: one of `ORDER`, `EQUAL`, `CONTAINS`, `KNOWN`."""

    field: Field
    operator: str
    value: str | float


@dataclass(frozen=True, slots=True)
class Property:
    """A named text of a family (a tag, an attribute) against a value. operator: `EQUAL`, `CONTAINS` or `KNOWN`."""

    family: str
    name: str
    operator: str
    value: str


@dataclass(frozen=True, slots=True)
class Flagged:
    """A flag holds, for example ``quarantined``."""

    flag: str


@dataclass(frozen=True, slots=True)
class InGroup:
    """The device is one of a group's. `with_groups` leaves only groups that are lists."""

    group: str


Condition = All | Any | Not | Comparison | Property | Flagged | InGroup


def bound_of(comparison: Comparison, now_s: float) -> tuple[str, str | float]:
    """Operator and value that the columns themselves are compared with.

    now_s: wall clock; a duration of at least an hour is a moment of at most an hour ago.
    """
    if comparison.field.quantity is Quantity.DURATION and isinstance(comparison.value, float | int):
        return FLIPPED[comparison.operator], now_s - comparison.value
    return comparison.operator, comparison.value


def groups_in(condition: Condition) -> Iterator[str]:
    """Names of the groups that a condition speaks of."""
    match condition:
        case All(parts) | Any(parts):
            for part in parts:
                yield from groups_in(part)
        case Not(part):
            yield from groups_in(part)
        case InGroup(group):
            yield group


def fields_in(condition: Condition) -> Iterator[Field]:
    """The fields that a condition compares, in its order."""
    match condition:
        case All(parts) | Any(parts):
            for part in parts:
                yield from fields_in(part)
        case Not(part):
            yield from fields_in(part)
        case Comparison(field):
            yield field


def with_groups(condition: Condition, meaning: Callable[[str], Condition]) -> Condition:
    """The same with `meaning` in the place of each group."""
    match condition:
        case All(parts):
            return All(tuple(with_groups(part, meaning) for part in parts))
        case Any(parts):
            return Any(tuple(with_groups(part, meaning) for part in parts))
        case Not(part):
            return Not(with_groups(part, meaning))
        case InGroup(group):
            return meaning(group)
        case _:
            return condition


def where_field_is(condition: Condition, name: str, value: float) -> Condition:
    """What is left of a condition where the numeric field `name` has this value, in its base unit."""
    match condition:
        case All(parts):
            return All(tuple(where_field_is(part, name, value) for part in parts))
        case Any(parts):
            return Any(tuple(where_field_is(part, name, value) for part in parts))
        case Not(part):
            return Not(where_field_is(part, name, value))
        case Comparison(field, operator, float() | int() as bound) if field.name == name:
            # a part and its opposite: exactly one of them holds
            return (Any if operator == KNOWN or HOLDS[operator](value, bound) else All)((condition, Not(condition)))
        case _:
            return condition
