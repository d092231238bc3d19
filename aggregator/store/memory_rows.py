"""Keeps collections in memory: a dictionary by key for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic

from aggregator.store.collection import Collection, Row, Value


class KeptCollections(dict[str, dict[tuple[Value, ...], Any]]):
    """Rows by key, by collection."""

    def copy(self) -> KeptCollections:
        """Another one with the same rows, which are immutable."""
        return KeptCollections({name: dict(rows) for name, rows in self.items()})

    def remove_device(self, device: str, collections: tuple[Collection[Any], ...]) -> None:
        """Forget what belongs to a device."""
        for collection in collections:
            if collection.of_devices:
                MemoryRows(self, collection).remove(device)


class MemoryRows(Generic[Row]):
    """Implements `aggregator.store.collection.Rows`."""

    def __init__(self, kept: KeptCollections, collection: Collection[Row]) -> None:
        self._rows = kept.setdefault(collection.name, {})
        self._collection = collection

    def get(self, *key: Value) -> Row | None:
        return self._rows.get(key)

    def put(self, row: Row) -> None:
        self._rows[self._collection.key_of(row)] = row

    def put_all(self, rows: Sequence[Row]) -> None:
        self._rows.update({self._collection.key_of(row): row for row in rows})

    def remove(self, *leading: Value) -> int:
        if leading in self._rows:  # a whole key: there is one row of it
            del self._rows[leading]
            return 1
        keys = self._keys(leading)
        for key in keys:
            del self._rows[key]
        return len(keys)

    def all(self, *leading: Value, after: tuple[Value, ...] = (), count_max: int | None = None) -> list[Row]:
        keys = self._keys(leading)
        if after:
            keys = [key for key in keys if key > after]
        return [self._rows[key] for key in sorted(keys)[:count_max]]

    def among(self, first: Sequence[Value], least: Value | None = None) -> list[Row]:
        wanted = set(first)
        keys = [key for key in self._rows if key[0] in wanted and (least is None or key[1] >= least)]  # type: ignore[operator]
        return [self._rows[key] for key in sorted(keys)]

    def where(self, **equal: Value) -> list[Row]:
        wanted = equal.items()
        return [row for row in self.all() if all(getattr(row, name) == value for name, value in wanted)]

    def keys(self, first: Sequence[Value]) -> list[tuple[Value, ...]]:
        wanted = set(first)
        return sorted(key for key in self._rows if key[0] in wanted)

    def greatest(self, field: str, per: str, **equal: Value) -> dict[Value, Value]:
        found: dict[Value, Any] = {}
        for row in self.where(**equal):
            name, value = getattr(row, per), getattr(row, field)
            found[name] = max(found.get(name, value), value)
        return found

    def tally(self, per: str, *leading: Value) -> dict[Value, int]:
        return dict(Counter(getattr(row, per) for row in self.all(*leading)))

    def count(self, *leading: Value) -> int:
        return len(self._keys(leading))

    def _keys(self, leading: tuple[Value, ...]) -> list[tuple[Value, ...]]:
        """Keys that begin so."""
        if not leading or not self._rows:
            return [*self._rows]
        return [key for key in self._rows if key[: len(leading)] == leading]
