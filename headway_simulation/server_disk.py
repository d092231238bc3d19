"""Simulates the aggregator's disk: a store that loses unsynced commits with the power, and a record of every commit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aggregator.store import MemoryStore, StoredHead, StoredStatistics, StoredUpdate
from headway.errors import StoreError
from headway_simulation.power import Power


@dataclass(frozen=True, slots=True)
class Kept:
    """What was put into one transaction, or into all that were committed.

    judged: by whose word a head was published, where heads are tried first: reports by device.
    """

    statistics: dict[tuple[str, int], StoredStatistics] = field(default_factory=dict)
    sequences: dict[tuple[str, int], int] = field(default_factory=dict)
    heads: list[StoredHead] = field(default_factory=list)
    averaged: list[StoredUpdate] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    updates: list[StoredUpdate] = field(default_factory=list)
    judged: dict[str, bytes] = field(default_factory=dict)

    @property
    def anything(self) -> bool:
        """Whether there is something to lose."""
        return bool(self.statistics or self.sequences or self.heads or self.removed or self.updates)

    def copy(self) -> Kept:
        """What there is now, for a copy of the disk."""
        return Kept(dict(self.statistics), dict(self.sequences), list(self.heads), list(self.averaged))

    @property
    def epochs(self) -> set[tuple[str, int]]:
        """Device and epoch of everything that is stored."""
        return {*self.statistics, *self.sequences}

    def add_stored(self, other: Kept) -> None:
        """Take in what a later transaction stored, and drop the devices that it removed then."""
        self.statistics.update(other.statistics)
        self.sequences.update(other.sequences)
        for rows in (self.statistics, self.sequences):
            for key in [key for key in rows if key[0] in other.removed]:
                del rows[key]

    def add_course(self, other: Kept) -> None:
        """Take in what it did: heads that it made, updates in them, devices that it removed."""
        self.heads.extend(other.heads)
        self.averaged.extend(other.averaged)
        self.removed.extend(other.removed)


class ServerStore(MemoryStore):
    """Implements `aggregator.store.protocol.Store`. synchronous: durable when a transaction ends.

    on_commit: called with what each transaction kept, once it is durable. A full disk refuses commits.
    """

    synchronous = True

    def __init__(self, power: Power, on_commit: Callable[[Kept], None]) -> None:
        super().__init__()
        self._power, self._on_commit = power, on_commit
        self._kept = Kept()
        self._synced = self._rows
        self._full = False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._kept = Kept()
        if not self.synchronous and self._synced is self._rows:
            self._synced = copy.deepcopy(self._rows)
        with super().transaction():
            yield
            if self._kept.anything:
                self._power.point(commit=True)
            if self._full:
                raise StoreError("database or disk is full")
        self._on_commit(self._kept)
        if self._kept.anything:
            # most transactions find nothing to do; a power cut in those would tell nothing
            self._power.point(commit=True)

    def power_cut(self) -> None:
        """What was not synced is gone."""
        if not self.synchronous:
            self._rows = self._synced

    def copy(self) -> ServerStore:
        """A copy of the disk, made now."""
        other = type(self)(self._power, self._on_commit)
        other.take_over(self)
        return other

    def take_over(self, other: ServerStore) -> None:
        """Hold what that one holds."""
        self._rows = self._synced = copy.deepcopy(other._rows)

    def fill(self, full: bool) -> None:
        """The disk has no space left, or has again."""
        self._full = full

    def sync(self) -> None:
        """The kernel wrote what nobody had asked it to."""
        self._synced = self._rows

    def put_statistics(self, row: StoredStatistics) -> None:
        super().put_statistics(row)
        self._kept.statistics[row.device, row.epoch] = row

    def put_sequence(self, device: str, epoch: int, sequence: int, run_id: int = 0, history: str = "") -> None:
        super().put_sequence(device, epoch, sequence, run_id, history)
        self._kept.sequences[device, epoch] = sequence

    def put_update(self, row: StoredUpdate) -> None:
        super().put_update(row)
        self._kept.updates.append(row)

    def put_head(self, row: StoredHead, kept_max: int) -> None:
        super().put_head(row, kept_max)
        self._kept.heads.append(row)

    def remove_updates(self, space: str, but_of: frozenset[str] = frozenset()) -> None:
        self._kept.averaged.extend(row for row in self.updates(space) if row.device not in but_of)
        super().remove_updates(space, but_of)

    def remove_device(self, device: str) -> None:
        super().remove_device(device)
        self._kept.removed.append(device)
