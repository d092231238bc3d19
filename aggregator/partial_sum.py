"""Sums of statistics that are made in several places and put together: create, add, merge, extract.

    create   nothing, in one feature space
    add      a report takes the place of an earlier one of its device: + new - old
    merge    two partial sums become one
    extract  the tables, classes in canonical order

Whole numbers do not round, so merging is associative and commutative to the bit: it does not matter who added which
report, nor in which order partial sums meet. One process, workers on one database, actors of a Ray cluster and regions
that report to a parent all use these four. A partial sum may hold less than nothing: what it adds up are changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from headway.arrays import AnyArray
from headway.errors import StoreError
from headway.fields import canonical_json, parse_json
from headway.maths import Statistics

FORMAT = 1
DIGEST_BYTES, LENGTH_BYTES = 32, 4
HEADER_BYTES_MAX = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class PartialSum:
    """Tables of one feature space, added up so far. first: the bundle's classes, which come first in that order.

    Immutable. Raises LocalError where tables of different feature spaces are combined.
    """

    first: tuple[str, ...]
    tables: Statistics

    @classmethod
    def create(cls, size: int, first: tuple[str, ...], space: str) -> PartialSum:
        """Of nothing; `size` is the number of codes d, without the constant."""
        return cls(first, Statistics.zeros(size, first, space))

    def add(self, old: Statistics | None, new: Statistics | None) -> PartialSum:
        """With `new` in the place of `old`; None stands for nothing."""
        tables = self.tables if new is None else self.tables + new
        return PartialSum(self.first, tables if old is None else tables - old)

    def merge(self, *others: PartialSum) -> PartialSum:
        """The sum of this and the others."""
        tables = self.tables
        for other in others:
            tables = tables + other.tables
        return PartialSum(self.first, tables)

    def extract(self) -> Statistics:
        """The tables: the first classes, then those that hold anything, by name."""
        tables = self.tables
        held = {name for name, column in zip(tables.classes, tables.class_sums.T, strict=True) if column.any()}
        return tables.with_classes(self.first + tuple(sorted(held - set(self.first))))

    def encode(self) -> bytes:
        """A digest, a header and the upper triangle of the gram and the class sums as int64: the same for the same."""
        tables = self.extract()
        header = canonical_json(
            {"format": FORMAT, "first": self.first, "classes": tables.classes, "size": tables.size,
             "space": tables.space}
        )  # fmt: skip
        gram = tables.gram[_upper(tables.size + 1)].astype("<i8").tobytes()
        body = len(header).to_bytes(LENGTH_BYTES, "little") + header + gram + tables.class_sums.astype("<i8").tobytes()
        return hashlib.sha256(body).digest() + body

    @classmethod
    def decode(cls, payload: bytes) -> PartialSum:
        """Inverse of `encode`. Raises StoreError for what is damaged, or was written by other rules."""
        body = memoryview(payload)[DIGEST_BYTES:]
        if len(body) < LENGTH_BYTES or hashlib.sha256(body).digest() != payload[:DIGEST_BYTES]:
            raise StoreError("a partial sum is damaged")
        start = LENGTH_BYTES + int.from_bytes(body[:LENGTH_BYTES], "little")
        header: Any = parse_json(bytes(body[LENGTH_BYTES:start]), "a partial sum", StoreError, HEADER_BYTES_MAX)
        if header["format"] != FORMAT:
            raise StoreError(f"a partial sum has format {header['format']}; this program reads {FORMAT}")
        side, classes = header["size"] + 1, tuple(header["classes"])
        count = side * (side + 1) // 2
        gram = np.zeros((side, side), np.int64)
        gram[_upper(side)] = np.frombuffer(body, "<i8", count, start)
        gram = np.triu(gram) + np.triu(gram, 1).T
        sums = np.frombuffer(body, "<i8", side * len(classes), start + 8 * count).reshape(side, len(classes))
        return cls(tuple(header["first"]), Statistics(gram, sums.astype(np.int64), classes, header["space"]))


def merged(sums: Iterable[PartialSum]) -> PartialSum | None:
    """All of them as one; None for none."""
    total: PartialSum | None = None
    for one in sums:
        total = one if total is None else total.merge(one)
    return total


@cache
def _upper(side: int) -> tuple[AnyArray, AnyArray]:
    """Where the upper triangle of a table is."""
    return np.triu_indices(side)
