"""Brings the registry of a store of an earlier release up to date: a typed row for each device that has none."""

from __future__ import annotations

from aggregator.store import Store


def backfill(store: Store) -> int:
    """Rows for devices that have none yet. In a transaction. Returns how many there were."""
    if not lacks_rows(store):
        return 0
    # loads NumPy, which a command that finds the store up to date does not wait for
    from aggregator.registry.derived import typed_row

    missing = [row for row in store.devices() if store.registry.get(row.device) is None]
    store.registry.put([typed_row(row) for row in missing])
    return len(missing)


def lacks_rows(store: Store) -> bool:
    """Whether a device has no typed row yet. Within `reading`."""
    return store.registry.count(None, 0.0) < store.device_count()
