"""The aggregator's store: the protocol, an implementation in memory, and one on SQL (`sql`, imported by path)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aggregator.store.collection import Collection, Rows
from aggregator.store.location import DATABASE, STATE_DIR, sqlite_url
from aggregator.store.protocol import ReadableStore, Store
from aggregator.store.registry_row import (
    DEGRADED,
    GOOD,
    OFFLINE,
    ON,
    ONLINE,
    PAUSED,
    PROBLEM,
    UNKNOWN,
    RegistryQuery,
    RegistryRow,
    RegistryTable,
    Values,
)
from aggregator.store.stored import (
    UNKNOWN_DEVICE,
    DeliveryRow,
    DeviceRow,
    EventQuery,
    EventRow,
    RefusalRow,
    StoredHead,
    StoredPart,
    StoredStatistics,
    StoredUpdate,
    ToldStatistics,
)

if TYPE_CHECKING:
    from aggregator.store.memory import MemoryStore

__all__ = [
    "DATABASE",
    "DEGRADED",
    "GOOD",
    "OFFLINE",
    "ON",
    "ONLINE",
    "PAUSED",
    "PROBLEM",
    "STATE_DIR",
    "UNKNOWN",
    "UNKNOWN_DEVICE",
    "Collection",
    "DeliveryRow",
    "DeviceRow",
    "EventQuery",
    "EventRow",
    "MemoryStore",
    "ReadableStore",
    "RefusalRow",
    "RegistryQuery",
    "RegistryRow",
    "RegistryTable",
    "Rows",
    "Store",
    "StoredHead",
    "StoredPart",
    "StoredStatistics",
    "StoredUpdate",
    "ToldStatistics",
    "Values",
    "sqlite_url",
]


def __getattr__(name: str) -> object:
    """The store in memory when it is asked for: a command that looks into a database waits for nothing of it."""
    if name == "MemoryStore":
        from aggregator.store.memory import MemoryStore

        return MemoryStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
