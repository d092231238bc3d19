"""Keeps the registry in memory: a dictionary by device, searched by the same conditions as the database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aggregator.filters import Condition, matches
from aggregator.store.collection import Collection
from aggregator.store.memory_rows import KeptCollections, MemoryRows
from aggregator.store.registry_json import objects_of
from aggregator.store.registry_row import Heard, RegistryQuery, RegistryRow, Values
from aggregator.store.rows import MEMBERS, PROPERTIES, QUARANTINED, SETTINGS_PENDING, SETTINGS_REFUSED

FLAGS: Mapping[str, Collection[Any]] = {
    "quarantined": QUARANTINED,
    "settings_pending": SETTINGS_PENDING,
    "settings_refused": SETTINGS_REFUSED,
}


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """Implements `aggregator.filters.Facts` for one row."""

    row: RegistryRow
    collections: KeptCollections

    def value(self, column: str) -> object:
        known: object = getattr(self.row, column)
        return known

    def property(self, family: str, name: str) -> str | None:
        found = MemoryRows(self.collections, PROPERTIES).get(self.row.device, family, name)
        return None if found is None else found.value

    def flagged(self, flag: str) -> bool:
        return MemoryRows(self.collections, FLAGS[flag]).count(self.row.device) > 0

    def listed(self, group: str) -> bool:
        return MemoryRows(self.collections, MEMBERS).get(self.row.device, group) is not None


class MemoryRegistry:
    """Implements `aggregator.store.registry_row.RegistryTable`."""

    def __init__(self, rows: dict[str, RegistryRow], collections: KeptCollections) -> None:
        self._rows, self._collections = rows, collections

    def today(self, device: str) -> tuple[int, int] | None:
        row = self._rows.get(device)
        return None if row is None else (row.day, row.day_bytes)

    def hear(self, heard: Mapping[str, Heard]) -> None:
        for device, values in heard.items():
            self._rows[device] = replace(self._rows[device], **values._asdict())

    def get(self, device: str) -> RegistryRow | None:
        return self._rows.get(device)

    def put(self, rows: Sequence[RegistryRow]) -> None:
        self._rows.update({row.device: row for row in rows})

    def find(self, query: RegistryQuery, now_s: float) -> list[RegistryRow]:
        found = sorted(self._meeting(query.condition, now_s), key=lambda row: row.device)
        column = query.column
        if column == "device":
            found = found[::-1] if query.descending else found
        else:
            known = [row for row in found if getattr(row, column) is not None]
            unknown = [row for row in found if getattr(row, column) is None]
            # sorting keeps the order of equals, also in reverse
            found = sorted(known, key=lambda row: getattr(row, column), reverse=query.descending) + unknown
        if query.after is not None:
            found = [row for row in found if _is_behind(row, column, query)]
        return found[: query.count_max]

    def table(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Sequence[Values]:
        return [tuple(getattr(row, name) for name in names) for row in self.find(query, now_s)]

    def objects(self, names: Sequence[str], query: RegistryQuery, now_s: float) -> Iterator[Values]:
        return objects_of(names, self.table((*names, query.column, "device"), query, now_s))

    def columns(self, names: Sequence[str], condition: Condition | None = None, now_s: float = 0.0) -> list[Values]:
        return [tuple(getattr(row, name) for name in names) for row in self._meeting(condition, now_s)]

    def count(self, condition: Condition | None, now_s: float) -> int:
        return len(self._meeting(condition, now_s))

    def totals(
        self, by: Sequence[str], of: Sequence[str], condition: Condition | None = None, now_s: float = 0.0
    ) -> list[Values]:
        found: dict[Values, list[int]] = {}
        for row in self._meeting(condition, now_s):
            sums = found.setdefault(tuple(getattr(row, name) for name in by), [0] * (1 + len(of)))
            for place, count in enumerate((1, *(getattr(row, name) for name in of))):
                sums[place] += count
        return [(*values, *sums) for values, sums in found.items()]

    def runs_space(self, space: str) -> bool:
        return any(row.space == space for row in self._rows.values())

    def _meeting(self, condition: Condition | None, now_s: float) -> list[RegistryRow]:
        rows: Mapping[str, RegistryRow] = self._rows
        if condition is None:
            return list(rows.values())
        return [row for row in rows.values() if matches(condition, KnownFacts(row, self._collections), now_s)]


def _is_behind(row: RegistryRow, column: str, query: RegistryQuery) -> bool:
    """Whether the row comes after the one that the query names."""
    value, name = query.after or (None, "")
    if column == "device":
        return row.device < name if query.descending else row.device > name
    own = getattr(row, column)
    if own is None or value is None:
        return own is None and (value is not None or row.device > name)
    if own == value:
        return row.device > name
    return bool(own < value if query.descending else own > value)
