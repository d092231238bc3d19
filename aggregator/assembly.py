"""Puts reports together that arrive in parts: stored durably until complete, one per device and epoch."""

from __future__ import annotations

from aggregator.store import Store, StoredPart
from headway.wire import ReportPart, join_report

# unfinished reports of one device; more than one where it was copied
UNFINISHED_MAX = 4


class Assemblies:
    """Puts parts together. Every method must run inside a transaction of the store.

    parts_max: parts of all devices together (120 KB each); beyond it the oldest unfinished report gives way.
    """

    def __init__(self, store: Store, parts_max: int) -> None:
        self._store, self._parts_max = store, parts_max

    def take(self, part: ReportPart) -> bytes | None:
        """Store a part; the whole report once it is complete, which ends the assembly. Raises RemoteError."""
        known = self._store.part_indices(part.device, part.epoch)
        if known is not None and part.counter < known.counter:
            return None
        if known is None or (known.counter, known.sha256) != (part.counter, part.sha256):
            # newer statistics, or the same after a restart: what there is of the old ones is of no use
            self._store.remove_parts(part.device, part.epoch)
            indices: frozenset[int] = frozenset()
        else:
            indices = known.indices
        if part.index not in indices:
            if not indices:
                self._bound_epochs(part)
            self._make_room(part)
            row = StoredPart(part.device, part.epoch, part.counter, part.sha256, part.index, part.encode())
            self._store.put_part(row)
        if len(indices | {part.index}) < part.count:
            return None
        rows = self._store.parts(part.device, part.epoch)
        self._store.remove_parts(part.device, part.epoch)
        return join_report([ReportPart.decode(row.payload) for row in rows])

    def progress(self, device: str, epoch: int) -> tuple[int, int]:
        """Counter of the unfinished report, and how many parts are stored, from the first on; zeros without one."""
        known = self._store.part_indices(device, epoch)
        if known is None:
            return 0, 0
        leading = next(index for index in range(len(known.indices) + 1) if index not in known.indices)
        return known.counter, leading

    def _bound_epochs(self, part: ReportPart) -> None:
        """One device's unfinished reports push out those of others only so far."""
        epochs = [epoch for epoch in self._store.unfinished_epochs(part.device) if epoch != part.epoch]
        for epoch in epochs[: max(len(epochs) - UNFINISHED_MAX + 1, 0)]:
            self._store.remove_parts(part.device, epoch)

    def _make_room(self, part: ReportPart) -> None:
        while self._store.part_count() >= self._parts_max:
            oldest = self._store.oldest_assembly()
            self._store.remove_parts(*oldest)
            if oldest == (part.device, part.epoch):
                return
