"""The store as sums have it while they take over, one by one, reports that others have stored already.

A sum asks the store for what is stored of a device when it takes a report in (`FleetSum.replace`). Of a device with
several epochs all new reports are there by then; so those that have not had their turn show as they were before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from aggregator.store import Store, StoredStatistics

# (device, epoch)
Key = tuple[str, int]


class ReportView:
    """Everything of a store, but for reports that are hidden behind earlier ones."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._before: dict[Key, StoredStatistics | None] = {}

    @property
    def store(self) -> Store:
        """The view in the place of a store."""
        return cast(Store, self)

    def hide(self, before: Mapping[Key, StoredStatistics | None]) -> None:
        """Show these in the place of what is stored of their epochs; None: nothing."""
        self._before = {**before}

    def show(self, key: Key) -> None:
        """It has its turn."""
        self._before.pop(key, None)

    def statistics(self, device: str, epoch: int) -> StoredStatistics | None:
        """As `Store.statistics`."""
        key = device, epoch
        return self._before[key] if key in self._before else self._store.statistics(device, epoch)

    def every_statistics(self, space: str, device: str | None = None) -> Iterator[StoredStatistics]:
        """As `Store.every_statistics`."""
        for row in self._store.every_statistics(space, device):
            shown = self._before.get((row.device, row.epoch), row)
            if shown is not None:
                yield shown

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
