"""Writes what is asked of the registry as SQL that SQLite and PostgreSQL read alike; every value is bound, by name.

Text, so that a command that only looks into a file of SQLite need not load SQLAlchemy, which takes longer than to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from aggregator.store.registry_row import RegistryQuery, RegistryRow

if TYPE_CHECKING:
    from aggregator.filters import Condition

TABLE = "registry"
COLUMNS = tuple(column.name for column in fields(RegistryRow))


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
        column = query.column
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

    def totals(self, by: Sequence[str], of: Sequence[str], condition: Condition | None) -> str:
        """For each combination of values of the columns `by`: these, the devices, and the sums of the columns `of`."""
        wanted = [] if condition is None else [self.clause(condition)]
        sums = [*by, "count(*)", *(f"sum({name})" for name in of)]
        return f"{self.select(sums)}{_where(wanted)} GROUP BY {', '.join(by)}"

    def get(self, device: str) -> str:
        """The row of one device."""
        return f"{self.select(COLUMNS)} WHERE device = {self.bound(device)}"

    @staticmethod
    def select(names: Sequence[str]) -> str:
        """names: of columns of the registry, never of what people wrote."""
        return f"SELECT {', '.join(names)} FROM {TABLE}"  # noqa: S608 our own names

    def clause(self, condition: Condition) -> str:
        """True or false, never NULL."""
        # a list of all devices waits for no language of filters
        from aggregator.store.registry_conditions import clause_of

        return clause_of(condition, self.dialect, self.now_s, self.bound)

    def _behind(self, query: RegistryQuery) -> str:
        """What comes after the row that the query names."""
        value, name = query.after or (None, "")
        column = query.column
        beyond = "<" if query.descending else ">"
        if column == "device":
            return f"device {beyond} {self.bound(name)}"
        later_name = f"device > {self.bound(name)}"
        if value is None:
            return f"({column} IS NULL AND {later_name})"
        last = self.bound(value)
        return f"({column} IS NULL OR {column} {beyond} {last} OR ({column} = {last} AND {later_name}))"

    def bound(self, value: str | float) -> str:
        """A value as a parameter of its own type: a count may be compared with a fraction."""
        name = f"value_{len(self.values)}"
        self.values[name] = value if isinstance(value, str) else float(value)
        kind = "TEXT" if isinstance(value, str) else "DOUBLE PRECISION"
        return f":{name}" if self.dialect == "sqlite" else f"CAST(:{name} AS {kind})"


def _where(wanted: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(wanted)}" if wanted else ""
