"""The bytes of a kept sum: its tables as integers, what they are of, and a digest that tells damage.

    32 bytes SHA-256 of all that follows | 8 bytes length of the header | header, JSON | tables, int64 little-endian

Of a gram the upper triangle is written. Most fleets have nobody over a bound: a table of nothing, or one that equals
the one before it, is one word in the header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from aggregator.heads.fleet_sum import Sums
from headway.arrays import AnyArray
from headway.errors import StoreError
from headway.fields import canonical_json, parse_json
from headway.maths import Statistics

# what was written by other rules is not taken up
FORMAT = 3
DIGEST_BYTES, LENGTH_BYTES = 32, 8
HEADER_BYTES_MAX = 1 << 28
NOTHING, SAME = "nothing", "same"

# (device, epoch)
Part = tuple[str, int]


@dataclass(frozen=True, slots=True)
class KeptSum:
    """What is kept of a sum. aside: parts in quarantine, which are not in it; marks: numbers that it is known by;
    counts: of what is told, samples by class of each part, which the store's rows do not say."""

    sums: Sums
    aside: frozenset[Part]
    marks: Mapping[str, int]
    counts: Mapping[Part, Mapping[str, int]] = field(default_factory=dict)

    def same_as(self, other: KeptSum) -> bool:
        """Whether nothing changed since `other` was kept."""
        same = self.sums.unchanged_since(other.sums) and (self.aside, self.marks) == (other.aside, other.marks)
        # the same object, as a rule: there may be as many as devices
        return same and (self.counts is other.counts or self.counts == other.counts)


def encode(kept: KeptSum, classes: tuple[str, ...]) -> bytes:
    """As bytes. classes: of the bundle."""
    sums = kept.sums
    size, space = sums.total.size, sums.total.space
    named: list[Any] = []
    parts: list[bytes] = []
    before: Statistics | None = None
    for tables in (sums.total, sums.within, sums.units):
        if tables == Statistics.zeros(size, classes, space):
            named.append(NOTHING)
        elif before is not None and tables == before:
            named.append(SAME)
        else:
            named.append(tables.classes)
            parts += [tables.gram[_upper(size + 1)].astype("<i8").tobytes(), tables.class_sums.astype("<i8").tobytes()]
        before = tables
    header = canonical_json(
        {
            "format": FORMAT,
            "classes": classes,
            "size": size,
            "tables": named,
            "over": sums.over,
            "aside": sorted(kept.aside),
            "counts": [[*part, kept.counts[part]] for part in sorted(kept.counts)],
            # they do not fit the whole numbers of JSON
            "marks": {name: str(mark) for name, mark in kept.marks.items()},
        }
    )
    body = b"".join([len(header).to_bytes(LENGTH_BYTES, "little"), header, *parts])
    return hashlib.sha256(body).digest() + body


def decode(payload: bytes, space: str) -> tuple[KeptSum, tuple[str, ...]]:
    """Inverse of `encode`. Raises StoreError for what is damaged, or was written by other rules."""
    body = memoryview(payload)[DIGEST_BYTES:]
    if len(body) < LENGTH_BYTES or hashlib.sha256(body).digest() != payload[:DIGEST_BYTES]:
        raise StoreError("the kept sum is damaged")
    start = LENGTH_BYTES + int.from_bytes(body[:LENGTH_BYTES], "little")
    header: Any = parse_json(bytes(body[LENGTH_BYTES:start]), "a kept sum", StoreError, HEADER_BYTES_MAX)
    if header["format"] != FORMAT:
        raise StoreError(f"the kept sum has format {header['format']}; this program reads {FORMAT}")
    classes, side = tuple(header["classes"]), header["size"] + 1
    read: list[Statistics] = []
    for named in header["tables"]:
        if named == NOTHING:
            read.append(Statistics.zeros(side - 1, classes, space))
        elif named == SAME:
            read.append(read[-1])
        else:
            count, columns = side * (side + 1) // 2, len(named)
            gram = np.zeros((side, side), np.int64)
            gram[_upper(side)] = np.frombuffer(body, "<i8", count, start)
            gram = np.triu(gram) + np.triu(gram, 1).T
            class_sums = np.frombuffer(body, "<i8", side * columns, start + 8 * count).reshape(side, columns)
            read.append(Statistics(gram, class_sums.astype(np.int64), tuple(named), space))
            start += 8 * (count + side * columns)
    total, within, units = read
    aside = frozenset((device, epoch) for device, epoch in header["aside"])
    marks = {name: int(mark) for name, mark in header["marks"].items()}
    counts = {(device, epoch): some for device, epoch, some in header["counts"]}
    return KeptSum(Sums(total, within, units, dict(header["over"])), aside, marks, counts), classes


@cache
def _upper(side: int) -> tuple[AnyArray, AnyArray]:
    """Where the upper triangle of a table is."""
    return np.triu_indices(side)
