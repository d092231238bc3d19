"""Stores the aggregator's state in memory, for simulations and tests: transactions work, a restart loses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from aggregator.store.collection import Collection, Rows
from aggregator.store.collection import Row as CollectedRow
from aggregator.store.memory_rows import KeptCollections, MemoryRows
from aggregator.store.refusal_row import RefusalRow
from aggregator.store.registry_memory import MemoryRegistry
from aggregator.store.registry_row import RegistryRow
from aggregator.store.rows import EVERY
from aggregator.store.stored import (
    DeliveryRow,
    DeviceRow,
    EventQuery,
    EventRow,
    Ordered,
    PartIndices,
    StoredHead,
    StoredPart,
    StoredStatistics,
    StoredUpdate,
    ToldStatistics,
)

Key = TypeVar("Key")
Row = TypeVar("Row")

# number, run and place in the device's history of an epoch without updates
NO_SEQUENCE = (0, 0, "")


@dataclass(frozen=True, slots=True)
class _Rows:
    """Containers that change in place; a transaction that raises puts the copies from before it back."""

    numbers: dict[str, int] = field(default_factory=dict)
    devices: dict[str, DeviceRow] = field(default_factory=dict)
    statistics: dict[tuple[str, int], StoredStatistics] = field(default_factory=dict)
    told: dict[tuple[str, int], ToldStatistics] = field(default_factory=dict)
    sequences: dict[tuple[str, int], tuple[int, int, str]] = field(default_factory=dict)
    updates: dict[tuple[str, int, int], StoredUpdate] = field(default_factory=dict)
    parts: dict[tuple[str, int, int], StoredPart] = field(default_factory=dict)
    heads: list[StoredHead] = field(default_factory=list)
    events: list[tuple[int, EventRow]] = field(default_factory=list)
    refusals: dict[tuple[str, str], RefusalRow] = field(default_factory=dict)
    requests: dict[str, float] = field(default_factory=dict)
    deliveries: dict[str, DeliveryRow] = field(default_factory=dict)
    removed: set[tuple[str, int]] = field(default_factory=set)
    clearings: dict[str, None] = field(default_factory=dict)
    registry: dict[str, RegistryRow] = field(default_factory=dict)
    collections: KeptCollections = field(default_factory=KeptCollections)


class MemoryStore:
    """Implements `aggregator.store.protocol.Store`."""

    def __init__(self) -> None:
        self._rows = _Rows()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        # rows are immutable, so copying the containers is a whole snapshot
        before = _Rows(*[getattr(self._rows, name).copy() for name in _Rows.__slots__])
        try:
            yield
        except BaseException:
            self._rows = before
            raise

    def reading(self) -> AbstractContextManager[None]:
        return self.transaction()

    def checkpoint(self, idle: bool) -> None:
        pass

    def rows(self, collection: Collection[CollectedRow]) -> Rows[CollectedRow]:
        return MemoryRows(self._rows.collections, collection)

    @property
    def registry(self) -> MemoryRegistry:
        return MemoryRegistry(self._rows.registry, self._rows.collections)

    def size_bytes(self) -> int:
        return 0

    def number(self, name: str) -> int:
        return self._rows.numbers.get(name, 0)

    def put_number(self, name: str, value: int) -> None:
        self._rows.numbers[name] = value

    def look_up(self, devices: Sequence[str]) -> None:
        pass  # it is here already

    def look_up_statistics(self, keys: Sequence[tuple[str, int]]) -> None:
        pass

    def device(self, device: str) -> DeviceRow | None:
        return self._rows.devices.get(device)

    def put_device(self, row: DeviceRow) -> None:
        self._rows.devices[row.device] = row

    def put_devices(self, rows: Sequence[DeviceRow]) -> None:
        self._rows.devices.update({row.device: row for row in rows})

    def devices(self) -> list[DeviceRow]:
        return [self._rows.devices[name] for name in sorted(self._rows.devices)]

    def device_count(self) -> int:
        return len(self._rows.devices)

    def oldest_stranger(self, unseen_since_s: float) -> str | None:
        rows = self._rows
        contributors = {device for device, _ in [*rows.statistics, *rows.sequences]}
        unseen = (row for row in rows.devices.values() if row.last_seen_s <= unseen_since_s)
        strangers = [row for row in unseen if row.device not in contributors]
        return min(strangers, key=lambda row: (row.last_seen_s, row.device)).device if strangers else None

    def statistics(self, device: str, epoch: int) -> StoredStatistics | None:
        return self._rows.statistics.get((device, epoch))

    def put_statistics(self, row: StoredStatistics) -> None:
        self._rows.statistics[row.device, row.epoch] = row

    def every_statistics(self, space: str, device: str | None = None) -> Iterator[StoredStatistics]:
        for row in list(self._rows.statistics.values()):
            if row.space == space and device in (None, row.device):
                yield row

    def contributions(self, space: str, device: str | None = None) -> list[StoredStatistics]:
        return [replace(row, payload=b"") for row in self.every_statistics(space, device)]

    def put_contribution(self, device: str, epoch: int, samples: int, counts: str) -> None:
        row = self._rows.statistics[device, epoch]
        self._rows.statistics[device, epoch] = replace(row, samples=samples, counts=counts)

    def told(self) -> list[ToldStatistics]:
        return [replace(row, payload=b"") for row in self._rows.told.values()]

    def told_payload(self, device: str, epoch: int) -> bytes:
        row = self._rows.told.get((device, epoch))
        return b"" if row is None else row.payload

    def put_told(self, rows: Sequence[ToldStatistics]) -> None:
        self._rows.told.update({(row.device, row.epoch): row for row in rows})

    def remove_told(self, device: str) -> None:
        _drop(self._rows.told, lambda key, _: key[0] == device)

    def epoch_count(self, device: str) -> int:
        return sum(name == device for name, _ in self._rows.statistics)

    def spaces(self) -> list[str]:
        reported = {row.space for row in self._rows.statistics.values()}
        return sorted(reported | {row.space for row in self._rows.updates.values()})

    def contributor_count(self, space: str) -> int:
        return len({row.device for row in self._rows.statistics.values() if row.space == space})

    def put_part(self, row: StoredPart) -> None:
        self._rows.parts[row.device, row.epoch, row.part] = row

    def part_indices(self, device: str, epoch: int) -> PartIndices | None:
        rows = self.parts(device, epoch)
        return PartIndices(rows[0].counter, rows[0].sha256, frozenset(row.part for row in rows)) if rows else None

    def parts(self, device: str, epoch: int) -> list[StoredPart]:
        rows = self._rows
        return [rows.parts[key] for key in sorted(rows.parts) if key[:2] == (device, epoch)]

    def remove_parts(self, device: str, epoch: int) -> None:
        _drop(self._rows.parts, lambda key, _: key[:2] == (device, epoch))

    def unfinished_epochs(self, device: str) -> list[int]:
        return list(dict.fromkeys(key[1] for key in self._rows.parts if key[0] == device))

    def part_count(self) -> int:
        return len(self._rows.parts)

    def oldest_assembly(self) -> tuple[str, int]:
        return next(iter(self._rows.parts))[:2]

    def sequence(self, device: str, epoch: int) -> int:
        return self._rows.sequences.get((device, epoch), NO_SEQUENCE)[0]

    def sequence_run_id(self, device: str, epoch: int) -> int:
        return self._rows.sequences.get((device, epoch), NO_SEQUENCE)[1]

    def sequence_history(self, device: str, epoch: int) -> str:
        return self._rows.sequences.get((device, epoch), NO_SEQUENCE)[2]

    def put_sequence(self, device: str, epoch: int, sequence: int, run_id: int = 0, history: str = "") -> None:
        self._rows.sequences[device, epoch] = sequence, run_id, history

    def put_update(self, row: StoredUpdate) -> None:
        self._rows.updates[row.device, row.epoch, row.sequence] = row

    def updates(self, space: str, devices: Sequence[str] | None = None) -> Iterator[StoredUpdate]:
        wanted = None if devices is None else set(devices)
        for key in self.update_keys(space):
            if wanted is None or key[0] in wanted:
                yield self._rows.updates[key]

    def update_keys(self, space: str) -> list[tuple[str, int, int]]:
        return sorted(key for key, row in self._rows.updates.items() if row.space == space)

    def update_count(self, device: str = "") -> int:
        rows = self._rows.updates
        return sum(row.device == device for row in rows.values()) if device else len(rows)

    def remove_updates(self, space: str, but_of: frozenset[str] = frozenset()) -> None:
        _drop(self._rows.updates, lambda _, row: row.space == space and row.device not in but_of)

    def head(self, space: str | None = None, method: str | None = None) -> StoredHead | None:
        fitting = [h for h in self._rows.heads if space in (None, h.space) and method in (None, h.method)]
        return max(fitting, key=lambda head: head.version, default=None)

    def head_version(self, space: str | None = None) -> int:
        return max((head.version for head in self._rows.heads if space in (None, head.space)), default=0)

    def has_head(self, payload: bytes) -> bool:
        return any(head.payload == payload for head in self._rows.heads)

    def remove_heads_after(self, version: int) -> None:
        self._rows.heads[:] = [head for head in self._rows.heads if head.version <= version]

    def heads(self, space: str, method: str) -> list[StoredHead]:
        fitting = [head for head in self._rows.heads if (head.space, head.method) == (space, method)]
        return sorted(fitting, key=lambda head: -head.version)

    def put_head(self, row: StoredHead, kept_max: int) -> None:
        rows = [*self._rows.heads, row]
        kept = {head.version for head in [head for head in rows if head.space == row.space][-kept_max:]}
        self._rows.heads[:] = [head for head in rows if head.space != row.space or head.version in kept]

    def add_event(self, row: EventRow, kept_max: int) -> None:
        events = self._rows.events
        _append(events, (events[-1][0] + 1 if events else 1, row), kept_max)

    def events(self, count_max: int = 100, device: str | None = None) -> list[EventRow]:
        query = EventQuery(device="" if device is None else device, count_max=count_max)
        return [row for _, row in self.find_events(query)]

    def find_events(self, query: EventQuery) -> list[tuple[int, EventRow]]:
        found = [
            (number, row)
            for number, row in self._rows.events
            if query.device in ("", row.device) and query.name in ("", row.name)
            and (query.before is None or number < query.before)
            and (query.after is None or number > query.after)
        ]  # fmt: skip
        return (found[::-1] if query.after is None else found)[: query.count_max]

    def count_refusal(self, row: RefusalRow) -> int:
        known = self._rows.refusals.get((row.device, row.reason))
        count = row.count + (known.count if known else 0)
        self._rows.refusals[row.device, row.reason] = replace(row, count=count)
        return count

    def refusals(self) -> list[RefusalRow]:
        return [self._rows.refusals[key] for key in sorted(self._rows.refusals)]

    def deliveries(self) -> list[DeliveryRow]:
        return [self._rows.deliveries[name] for name in sorted(self._rows.deliveries)]

    def ordered(self, but_of: Sequence[str]) -> dict[Ordered, int]:
        rows = (row for row in self.deliveries() if row.sha256 and row.device not in but_of)
        return dict(Counter((row.sha256, row.name, row.version, row.release) for row in rows))

    def put_delivery(self, row: DeliveryRow) -> None:
        self._rows.deliveries[row.device] = row

    def request_removal(self, device: str, requested_s: float) -> None:
        self._rows.requests[device] = requested_s

    def removal_requests(self) -> list[str]:
        return sorted(self._rows.requests)

    def put_clearing(self, topic: str) -> None:
        self._rows.clearings[topic] = None

    def clearings(self) -> list[str]:
        return sorted(self._rows.clearings)

    def remove_clearing(self, topic: str) -> None:
        self._rows.clearings.pop(topic, None)

    def is_removed(self, device: str, epoch: int) -> bool:
        return (device, epoch) in self._rows.removed

    def remove_epoch(self, device: str, epoch: int) -> None:
        rows = self._rows
        rows.removed.add((device, epoch))
        rows.statistics.pop((device, epoch), None)
        rows.sequences.pop((device, epoch), None)
        rows.told.pop((device, epoch), None)
        _drop(rows.updates, lambda key, _: key[:2] == (device, epoch))
        _drop(rows.parts, lambda key, _: key[:2] == (device, epoch))

    def remove_device(self, device: str) -> None:
        rows = self._rows
        rows.removed.update(key for key in [*rows.statistics, *rows.sequences] if key[0] == device)
        _drop(rows.statistics, lambda key, _: key[0] == device)
        _drop(rows.sequences, lambda key, _: key[0] == device)
        _drop(rows.updates, lambda key, _: key[0] == device)
        _drop(rows.parts, lambda key, _: key[0] == device)
        _drop(rows.refusals, lambda key, _: key[0] == device)
        rows.events[:] = [kept for kept in rows.events if kept[1].device != device]
        rows.devices.pop(device, None)
        rows.deliveries.pop(device, None)
        rows.registry.pop(device, None)
        rows.requests.pop(device, None)
        rows.collections.remove_device(device, EVERY)


def _drop(table: dict[Key, Row], unwanted: Callable[[Key, Row], bool]) -> None:
    for key in [key for key, row in table.items() if unwanted(key, row)]:
        del table[key]


def _append(rows: list[Row], row: Row, kept_max: int) -> None:
    """Add a row and forget all but the newest `kept_max`."""
    rows.append(row)
    del rows[:-kept_max]
