"""What a server asks of an engine, and the engine that is this process.

Everything is cut into the same pieces, and their results are put together in the same order, wherever they are made. So
the engine never shows in a result: whole numbers are exact, and of floating-point numbers each piece is the same sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from aggregator.engine.robust import krum_scores, median, products, trimmed_mean
from aggregator.partial_sum import PartialSum
from aggregator.store import StoredStatistics
from headway.arrays import Float32, Float64
from headway.errors import RemoteError
from headway.maths import Statistics
from headway.wire import StatisticsReport

# (device, epoch)
Key = tuple[str, int]
# of stored reports that go to one place together
BATCH_ROWS, BATCH_BYTES = 256, 4 << 20
MEDIAN, TRIMMED_MEAN, PRODUCTS = "median", "trimmed_mean", "products"


@dataclass(frozen=True, slots=True)
class Recount:
    """Stored reports added up anew. part: of those that are not aside; held: samples by class of each that can be read,
    aside or not; unreadable: the others."""

    part: PartialSum
    held: Mapping[Key, Mapping[str, int]]
    unreadable: tuple[Key, ...]


class Engine(Protocol):
    """Where heavy work is done."""

    def recount(self, rows: Iterable[StoredStatistics], empty: PartialSum, aside: frozenset[Key]) -> Recount:
        """Add up stored reports. empty: the sum of nothing in their space; aside: what does not count."""
        ...

    def median(self, rows: Float32) -> Float64:
        """As `aggregator.engine.robust.median`."""
        ...

    def trimmed_mean(self, rows: Float32, share: float) -> Float64:
        """As `aggregator.engine.robust.trimmed_mean`."""
        ...

    def krum_scores(self, rows: Float32, malicious: int) -> Float64:
        """As `aggregator.engine.robust.krum_scores`."""
        ...


class LocalEngine:
    """This process."""

    def recount(self, rows: Iterable[StoredStatistics], empty: PartialSum, aside: frozenset[Key]) -> Recount:
        return joined(empty, (recounted(batch, empty, aside) for batch in batches(rows)))

    def median(self, rows: Float32) -> Float64:
        return median(rows)

    def trimmed_mean(self, rows: Float32, share: float) -> Float64:
        return trimmed_mean(rows, share)

    def krum_scores(self, rows: Float32, malicious: int) -> Float64:
        return krum_scores(rows, malicious)


def batches(rows: Iterable[StoredStatistics]) -> Iterator[list[StoredStatistics]]:
    """Reports in groups, so that a whole fleet's are never in memory together."""
    batch: list[StoredStatistics] = []
    size = 0
    for row in rows:
        if batch and (len(batch) >= BATCH_ROWS or size + len(row.payload) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row.payload)
    if batch:
        yield batch


def recounted(batch: Iterable[StoredStatistics], empty: PartialSum, aside: frozenset[Key]) -> Recount:
    """One batch, in this process."""
    part, held, unreadable = empty, dict[Key, Mapping[str, int]](), list[Key]()
    for row in batch:
        key = row.device, row.epoch
        try:
            tables = StatisticsReport.decode_stored(row.payload, accepted=row.samples >= 0).statistics
        except RemoteError:
            unreadable.append(key)
            continue
        held[key] = _counts(tables)
        if key not in aside:
            part = part.add(None, tables)
    return Recount(part, held, tuple(unreadable))


def joined(empty: PartialSum, parts: Iterable[Recount]) -> Recount:
    """What several batches came to, in any order."""
    total, held, unreadable = empty, dict[Key, Mapping[str, int]](), list[Key]()
    for one in parts:
        total = total.merge(one.part)
        held |= one.held
        unreadable += one.unreadable
    return Recount(total, held, tuple(sorted(unreadable)))


def piece(rule: str, block: Float32, share: float) -> Float64 | Float32:
    """What a rule makes of some coordinates of all rows, float32 (n, columns)."""
    if rule == MEDIAN:
        return median(block)
    return trimmed_mean(block, share) if rule == TRIMMED_MEAN else products(block)


def _counts(tables: Statistics) -> dict[str, int]:
    return {name: count for name, count in zip(tables.classes, tables.counts.tolist(), strict=True) if count}
