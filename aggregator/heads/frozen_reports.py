"""What the store held of some devices at one moment, while newer reports take the place of what it holds.

The store keeps the newest report of each epoch alone. What a report replaces for the first time since that moment is
kept here, as it was stored: one payload for each epoch that was there, however often a device reports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from aggregator.heads.stored_reports import stored_tables
from aggregator.store import Store, StoredStatistics
from headway.maths import Statistics, merge


class FrozenReports:
    """Of these devices, from now on. Must be told of every report that is stored. nothing: tables of no samples, of the
    feature space and with the classes of the bundle. Methods run in a transaction of the store."""

    def __init__(self, nothing: Statistics, store: Store, devices: Collection[str]) -> None:
        self._nothing, self._store = nothing, store
        # by device and epoch; None for what was not there
        self._replaced: Mapping[str, dict[int, StoredStatistics | None]] = {device: {} for device in devices}
        self._bytes = 0

    def __contains__(self, device: str) -> bool:
        return device in self._replaced

    @property
    def bytes(self) -> int:
        """Of payloads that are kept here."""
        return self._bytes

    def replaced(self, device: str, epoch: int, known: StoredStatistics | None) -> None:
        """A report has come in the place of `known`, None for nothing."""
        earlier = self._replaced.get(device)
        if earlier is None or epoch in earlier:
            return
        if known is not None and known.space != self._nothing.space:
            known = None
        earlier[epoch] = known
        self._bytes += 0 if known is None else len(known.payload)

    def tables(self, device: str) -> Statistics:
        """The sum of what was stored of one of them."""
        rows: dict[int, StoredStatistics | None] = {
            row.epoch: row for row in self._store.every_statistics(self._nothing.space, device)
        }
        rows |= self._replaced[device]
        stored = (stored_tables(row) for _, row in sorted(rows.items()) if row is not None)
        readable = [tables for tables in stored if tables is not None]
        if len(readable) == 1 and readable[0].classes == self._nothing.classes:
            # as most have it: nothing to add up
            return readable[0]
        return merge([self._nothing, *readable])
