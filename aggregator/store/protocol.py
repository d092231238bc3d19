"""Declares the protocol that every store of the aggregator implements.

All calls happen inside `transaction()`; what a transaction wrote is there after a power cut once it ended, and none
of it is when it raised. Payloads rest as they came over the wire, validated, so that a restart rebuilds every sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from aggregator.store.collection import Collection, ReadableRows, Row, Rows
from aggregator.store.refusal_row import RefusalRow
from aggregator.store.registry_row import ReadableRegistry, RegistryTable
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


class ReadableStore(Protocol):
    """What the list of devices asks of a store, inside `reading()`."""

    def reading(self) -> AbstractContextManager[None]:
        """One picture of everything, for who only reads and can write nothing: nobody waits for anybody."""
        ...

    def rows(self, collection: Collection[Row]) -> ReadableRows[Row]:
        """The rows of one collection (`aggregator.store.rows`)."""
        ...

    @property
    def registry(self) -> ReadableRegistry:
        """What is known of each device, typed; filters look into it."""
        ...

    def refusals(self) -> list[RefusalRow]: ...


class Store(ReadableStore, Protocol):
    """Durable memory with one writer. Raises StoreError when the disk or the database refuses."""

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing, durable at the end. Not nestable."""
        ...

    def checkpoint(self, idle: bool) -> None:
        """Between transactions: what the database has to do at some time and nobody waits for, if it is enough.

        idle: no message waits. Raises StoreError when the disk refuses; what is durable stays so.
        """
        ...

    def rows(self, collection: Collection[Row]) -> Rows[Row]:
        """The rows of one collection (`aggregator.store.rows`)."""
        ...

    @property
    def registry(self) -> RegistryTable:
        """What is known of each device, typed; filters look into it."""
        ...

    def size_bytes(self) -> int:
        """Bytes that the database takes; 0 in memory."""
        ...

    def number(self, name: str) -> int:
        """A named number (boot count, version floor); 0 before it was put."""
        ...

    def put_number(self, name: str, value: int) -> None: ...

    def look_up(self, devices: Sequence[str]) -> None:
        """Messages of these devices are about to be taken in: what they ask for may be looked up together."""
        ...

    def device(self, device: str) -> DeviceRow | None: ...

    def put_device(self, row: DeviceRow) -> None: ...

    def put_devices(self, rows: Sequence[DeviceRow]) -> None:
        """The same for many at once."""
        ...

    def devices(self) -> list[DeviceRow]:
        """Every device, by name."""
        ...

    def device_count(self) -> int: ...

    def oldest_stranger(self, unseen_since_s: float) -> str | None:
        """Of the devices that never contributed and were last seen then or before, the one seen longest ago."""
        ...

    def look_up_statistics(self, keys: Sequence[tuple[str, int]]) -> None:
        """The statistics of these devices and epochs are about to be asked for: they may be looked up together."""
        ...

    def statistics(self, device: str, epoch: int) -> StoredStatistics | None: ...

    def put_statistics(self, row: StoredStatistics) -> None:
        """Insert, or replace the row of the same (device, epoch)."""
        ...

    def every_statistics(self, space: str, device: str | None = None) -> Iterator[StoredStatistics]:
        """Rows in one feature space, of one device or of all."""
        ...

    def contributions(self, space: str, device: str | None = None) -> list[StoredStatistics]:
        """Every row in one feature space, of all devices or of one, payloads left out."""
        ...

    def put_contribution(self, device: str, epoch: int, samples: int, counts: str) -> None:
        """Note what the stored report of (device, epoch) holds, see `StoredStatistics`."""
        ...

    def told(self) -> list[ToldStatistics]:
        """What is in the sum that devices are told, payloads left out."""
        ...

    def told_payload(self, device: str, epoch: int) -> bytes:
        """The payload of one of them; empty without one."""
        ...

    def put_told(self, rows: Sequence[ToldStatistics]) -> None:
        """Insert, or replace the rows of the same (device, epoch)."""
        ...

    def remove_told(self, device: str) -> None:
        """Forget what of a device is in it."""
        ...

    def epoch_count(self, device: str) -> int:
        """Epochs for which the device has statistics, in any space."""
        ...

    def spaces(self) -> list[str]:
        """Feature spaces of which statistics are stored, or updates wait, in order."""
        ...

    def contributor_count(self, space: str) -> int:
        """Devices with statistics in the space."""
        ...

    def put_part(self, row: StoredPart) -> None:
        """Keep a part of a report."""
        ...

    def part_indices(self, device: str, epoch: int) -> PartIndices | None:
        """What is stored of a report that is not whole; None for nothing."""
        ...

    def parts(self, device: str, epoch: int) -> list[StoredPart]:
        """Its parts in order."""
        ...

    def remove_parts(self, device: str, epoch: int) -> None: ...

    def unfinished_epochs(self, device: str) -> list[int]:
        """Epochs of a device's reports that are not whole, the one begun first first."""
        ...

    def part_count(self) -> int:
        """Parts of all devices."""
        ...

    def oldest_assembly(self) -> tuple[str, int]:
        """Device and epoch of the part that was stored first of all. There must be one."""
        ...

    def sequence(self, device: str, epoch: int) -> int:
        """Highest update sequence taken from (device, epoch); 0 for none."""
        ...

    def sequence_run_id(self, device: str, epoch: int) -> int:
        """The run (`run_id` of headway.wire.History) that sent it; 0 for none."""
        ...

    def sequence_history(self, device: str, epoch: int) -> str:
        """What was put with it: where the update lies in the device's history; empty for unknown."""
        ...

    def put_sequence(self, device: str, epoch: int, sequence: int, run_id: int = 0, history: str = "") -> None: ...

    def put_update(self, row: StoredUpdate) -> None:
        """Keep an update until a head takes it in."""
        ...

    def updates(self, space: str, devices: Sequence[str] | None = None) -> Iterator[StoredUpdate]:
        """Updates not yet taken in, by (device, epoch, sequence); of all devices, or of these, in ascending order."""
        ...

    def update_keys(self, space: str) -> list[tuple[str, int, int]]:
        """(device, epoch, sequence) of the same, in order, without reading them."""
        ...

    def update_count(self, device: str = "") -> int:
        """Updates that wait, of one device or of all."""
        ...

    def remove_updates(self, space: str, but_of: frozenset[str] = frozenset()) -> None:
        """A head took the waiting updates of this space in, but for those of the devices `but_of`."""
        ...

    def head(self, space: str | None = None, method: str | None = None) -> StoredHead | None:
        """The newest head, of one space and method or of any."""
        ...

    def head_version(self, space: str | None = None) -> int:
        """Of the newest head of a space, or of all, 0 without one, without reading the head."""
        ...

    def has_head(self, payload: bytes) -> bool:
        """Whether this is one of the heads that are kept."""
        ...

    def remove_heads_after(self, version: int) -> None:
        """Forget heads of higher versions."""
        ...

    def heads(self, space: str, method: str) -> list[StoredHead]:
        """The heads kept of one space and method, newest first."""
        ...

    def put_head(self, row: StoredHead, kept_max: int) -> None:
        """Add a head and forget all but the newest `kept_max` of its feature space."""
        ...

    def add_event(self, row: EventRow, kept_max: int) -> None:
        """Add an event and forget all but the newest `kept_max`."""
        ...

    def events(self, count_max: int = 100, device: str | None = None) -> list[EventRow]:
        """Newest first, of one device or of all."""
        ...

    def find_events(self, query: EventQuery) -> list[tuple[int, EventRow]]:
        """Each with its number, which grows with every event; the newest first unless the query says otherwise."""
        ...

    def count_refusal(self, row: RefusalRow) -> int:
        """Add `row.count` to the counter of (device, reason), note the problem, return the new count."""
        ...

    def deliveries(self) -> list[DeliveryRow]:
        """Every order, by device."""
        ...

    def ordered(self, but_of: Sequence[str]) -> dict[Ordered, int]:
        """How many orders, but those of `but_of`, name each bundle; withdrawn ones name none."""
        ...

    def put_delivery(self, row: DeliveryRow) -> None:
        """Insert, or replace the row of the same device."""
        ...

    def request_removal(self, device: str, requested_s: float) -> None:
        """Ask the running aggregator to take a device's contribution out."""
        ...

    def removal_requests(self) -> list[str]: ...

    def put_clearing(self, topic: str) -> None:
        """Remember that what the broker retains on a topic must go."""
        ...

    def clearings(self) -> list[str]:
        """Topics whose retained message must go, until the broker has confirmed it."""
        ...

    def remove_clearing(self, topic: str) -> None: ...

    def is_removed(self, device: str, epoch: int) -> bool:
        """True when this epoch's contribution was taken out on request and must not come back."""
        ...

    def remove_epoch(self, device: str, epoch: int) -> None:
        """Forget what came of one epoch, and remember it as removed; the device stays."""
        ...

    def remove_device(self, device: str) -> None:
        """Forget the device and all it sent, remember its epochs as removed, and close the request."""
        ...
