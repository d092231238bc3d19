"""Writes the condition of a filter over devices as SQL, true or false and never NULL; every value is bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aggregator.filters import All, Any, Comparison, Condition, Flagged, InGroup, Not, Property, bound_of
from aggregator.store.rows import MEMBERS, PROPERTIES, QUARANTINED, SETTINGS_PENDING, SETTINGS_REFUSED

FLAGS = {
    "quarantined": QUARANTINED.name,
    "settings_pending": SETTINGS_PENDING.name,
    "settings_refused": SETTINGS_REFUSED.name,
}
# the place of a text in another, from 1, by dialect; LIKE would be blind to case on one database and not on the other
POSITION = {"sqlite": "instr"}
OPERATORS = frozenset({"<", "<=", ">", ">="})
# binds a value, and returns the parameter's name in SQL
Bind = Callable[[str | float], str]


def clause_of(condition: Condition, dialect: str, now_s: float, bind: Bind) -> str:
    """dialect: SQLAlchemy's name of the kind of database. now_s: wall clock, for durations."""
    match condition:
        case All(parts):
            return _joined([clause_of(part, dialect, now_s, bind) for part in parts], " AND ", "1 = 1")
        case Any(parts):
            return _joined([clause_of(part, dialect, now_s, bind) for part in parts], " OR ", "1 = 0")
        case Not(part):
            return f"NOT {clause_of(part, dialect, now_s, bind)}"
        case Comparison(compared):
            operator, value = bound_of(condition, now_s)
            held = [_holds(column, operator, value, dialect, bind) for column in compared.columns]
            return f"({' OR '.join(held)})"
        case Property(family, name, operator, value):
            same = f"family = {bind(family)} AND name = {bind(name)}"
            return _in(PROPERTIES.name, f"{same} AND {_holds('value', operator, value, dialect, bind)}")
        case Flagged(flag):
            return _in(FLAGS[flag], "1 = 1")
        case InGroup(group):
            return _in(MEMBERS.name, f"group_name = {bind(group)}")


def _joined(parts: Sequence[str], operator: str, nothing: str) -> str:
    return f"({operator.join(parts) or nothing})"


def _holds(column: str, operator: str, value: str | float, dialect: str, bind: Bind) -> str:
    """False, never NULL, where the column is: `Not` turns it around."""
    known = f"{column} IS NOT NULL"
    if operator == "known":
        return f"({known})"
    if operator == "contains":
        return f"({known} AND {POSITION.get(dialect, 'strpos')}({column}, {bind(str(value))}) > 0)"
    return f"({known} AND {column} {operator if operator in OPERATORS else '='} {bind(value)})"


def _in(table: str, wanted: str) -> str:
    return f"device IN (SELECT device FROM {table} WHERE {wanted})"  # noqa: S608 every value is bound
