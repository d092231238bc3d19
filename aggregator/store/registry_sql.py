"""Writes what is asked of the registry as SQL that SQLite and PostgreSQL read alike; every value is bound, by name.

Text, so that a command that only looks into a file of SQLite need not load SQLAlchemy, which takes longer than to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from aggregator.filters import All, Any, Comparison, Condition, Flagged, InGroup, Not, Property, bound_of
from aggregator.store.registry_row import RegistryQuery, RegistryRow
from aggregator.store.rows import MEMBERS, PROPERTIES, QUARANTINED, SETTINGS_PENDING, SETTINGS_REFUSED

TABLE = "registry"
COLUMNS = tuple(column.name for column in fields(RegistryRow))
FLAGS = {
    "quarantined": QUARANTINED.name,
    "settings_pending": SETTINGS_PENDING.name,
    "settings_refused": SETTINGS_REFUSED.name,
}
# the place of a text in another, from 1, by dialect; LIKE would be blind to case on one database and not on the other
POSITION = {"sqlite": "instr"}
OPERATORS = frozenset({"<", "<=", ">", ">="})


@dataclass(frozen=True, slots=True)
class Statement:
    """One question to the registry; the methods return SQL, and what they bind is in `values` by name.

    dialect: SQLAlchemy's name of the kind of database. now_s: wall clock, for durations.
    """

    dialect: str
    now_s: float
    values: dict[str, str | float] = field(default_factory=dict)

    def find(self, query: RegistryQuery, names: Sequence[str] = COLUMNS) -> str:
        """Rows with these columns, in the order that the query asks for."""
        wanted = [] if query.condition is None else [self.clause(query.condition)]
        if query.after is not None:
            wanted.append(self._behind(query))
        descends = " DESC" if query.descending else ""
        column = "device" if query.sort is None else query.sort.columns[0]
        order = f"device{descends}" if column == "device" else f"{column} IS NULL, {column}{descends}, device"
        limit = "" if query.count_max is None else f" LIMIT {int(query.count_max)}"
        return f"{self.select(names)}{_where(wanted)} ORDER BY {order}{limit}"

    def columns(self, names: Sequence[str], condition: Condition | None) -> str:
        """These columns, of each device that meets the condition."""
        return self.select(names) + _where([] if condition is None else [self.clause(condition)])

    def count(self, condition: Condition | None) -> str:
        """How many devices meet the condition."""
        wanted = [] if condition is None else [self.clause(condition)]
        return f"SELECT count(*) FROM {TABLE}{_where(wanted)}"  # noqa: S608 every value is bound

    def get(self, device: str) -> str:
        """The row of one device."""
        return f"{self.select(COLUMNS)} WHERE device = {self._bound(device)}"

    @staticmethod
    def select(names: Sequence[str]) -> str:
        """names: of columns of the registry, never of what people wrote."""
        return f"SELECT {', '.join(names)} FROM {TABLE}"  # noqa: S608 our own names

    def clause(self, condition: Condition) -> str:
        """True or false, never NULL."""
        match condition:
            case All(parts):
                return self._joined(parts, " AND ", "1 = 1")
            case Any(parts):
                return self._joined(parts, " OR ", "1 = 0")
            case Not(part):
                return f"NOT {self.clause(part)}"
            case Comparison(compared):
                operator, value = bound_of(condition, self.now_s)
                return "(" + " OR ".join(self._holds(column, operator, value) for column in compared.columns) + ")"
            case Property(family, name, operator, value):
                same = f"family = {self._bound(family)} AND name = {self._bound(name)}"
                return _in(PROPERTIES.name, f"{same} AND {self._holds('value', operator, value)}")
            case Flagged(flag):
                return _in(FLAGS[flag], "1 = 1")
            case InGroup(group):
                return _in(MEMBERS.name, f"group_name = {self._bound(group)}")

    def _joined(self, parts: Sequence[Condition], operator: str, nothing: str) -> str:
        return "(" + (operator.join(map(self.clause, parts)) or nothing) + ")"

    def _behind(self, query: RegistryQuery) -> str:
        """What comes after the row that the query names."""
        value, name = query.after or (None, "")
        column = "device" if query.sort is None else query.sort.columns[0]
        beyond = "<" if query.descending else ">"
        if column == "device":
            return f"device {beyond} {self._bound(name)}"
        later_name = f"device > {self._bound(name)}"
        if value is None:
            return f"({column} IS NULL AND {later_name})"
        last = self._bound(value)
        return f"({column} IS NULL OR {column} {beyond} {last} OR ({column} = {last} AND {later_name}))"

    def _holds(self, column: str, operator: str, value: str | float) -> str:
        """False, never NULL, where the column is: `Not` turns it around."""
        known = f"{column} IS NOT NULL"
        if operator == "known":
            return f"({known})"
        if operator == "contains":
            position = POSITION.get(self.dialect, "strpos")
            return f"({known} AND {position}({column}, {self._bound(str(value))}) > 0)"
        return f"({known} AND {column} {operator if operator in OPERATORS else '='} {self._bound(value)})"

    def _bound(self, value: str | float) -> str:
        """A value as a parameter of its own type: a count may be compared with a fraction."""
        name = f"value_{len(self.values)}"
        self.values[name] = value if isinstance(value, str) else float(value)
        kind = "TEXT" if isinstance(value, str) else "DOUBLE PRECISION"
        return f":{name}" if self.dialect == "sqlite" else f"CAST(:{name} AS {kind})"


def _where(wanted: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(wanted)}" if wanted else ""


def _in(table: str, wanted: str) -> str:
    return f"device IN (SELECT device FROM {table} WHERE {wanted})"  # noqa: S608 every value is bound
