"""Declares collections: rows of one frozen dataclass by a key, the same on a database and in memory.

What the service keeps beside statistics and heads (twins, rollouts, certificates ...) is rows by key. Each kind is one
dataclass and one `Collection` in `aggregator.store.rows`; neither store has code of its own for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Generic, Protocol, TypeVar

Row = TypeVar("Row")
Value = str | int | float | bool | bytes
TYPES: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool, "bytes": bytes}


@dataclass(frozen=True, slots=True)
class Collection(Generic[Row]):
    """Rows of type `row`, a frozen dataclass whose fields are str, int, float, bool or bytes.

    name: of the database's table. key: the fields that name a row, the first of them first. indexed: further fields
    that are often searched for. Rows whose key begins with `device` go when the device is removed. Raises TypeError for
    a field of another type.
    """

    name: str
    row: type[Row]
    key: tuple[str, ...]
    indexed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in self.columns().items():
            if kind is None:
                raise TypeError(f"collection {self.name}: field {name} is none of {', '.join(TYPES)}")

    @property
    def of_devices(self) -> bool:
        """Whether its rows belong to devices, and go with them."""
        return self.key[0] == "device"

    def columns(self) -> dict[str, type | None]:
        """The type of each field, in order; None for one that cannot be stored."""
        # the modules that declare rows have their annotations as texts
        return {field.name: TYPES.get(str(field.type)) for field in fields(self.row)}  # type: ignore[arg-type]

    def key_of(self, row: Row) -> tuple[Value, ...]:
        """The values that name a row."""
        return tuple(getattr(row, name) for name in self.key)


class ReadableRows(Protocol[Row]):
    """The rows of one collection, for who only looks. `leading`: values of the first fields of a key."""

    def get(self, *key: Value) -> Row | None:
        """The row of a whole key."""
        ...

    def all(self, *leading: Value, after: tuple[Value, ...] = (), count_max: int | None = None) -> list[Row]:
        """Rows whose keys begin so, by key; those past the whole key `after`, at most `count_max`."""
        ...

    def among(self, first: Sequence[Value], least: Value | None = None) -> list[Row]:
        """Rows whose keys begin with one of `first` and, where it is given, go on with at least `least`; by key."""
        ...

    def where(self, **equal: Value) -> list[Row]:
        """Rows whose fields have these values, by key."""
        ...


class Rows(ReadableRows[Row], Protocol[Row]):
    """The rows of one collection, inside a transaction of the store. `leading`: values of the first fields of a key."""

    def put(self, row: Row) -> None:
        """Insert, or replace the row of the same key."""
        ...

    def put_all(self, rows: Sequence[Row]) -> None:
        """The same for many at once, each of another key."""
        ...

    def remove(self, *leading: Value) -> int:
        """Remove the rows whose keys begin so, and return how many there were."""
        ...

    def keys(self, first: Sequence[Value]) -> list[tuple[Value, ...]]:
        """Keys that begin with one of `first`, in order."""
        ...

    def greatest(self, field: str, per: str, **equal: Value) -> dict[Value, Value]:
        """The greatest value of `field`, which is not bytes, for each value of `per`, of the rows whose fields have the
        values `equal`."""
        ...

    def tally(self, per: str, *leading: Value) -> dict[Value, int]:
        """How many rows whose keys begin so have each value of the field `per`."""
        ...

    def count(self, *leading: Value) -> int:
        """How many rows have keys that begin so."""
        ...
