"""The aggregator's store: the protocol, an implementation in memory, and one on SQL (`sql`, imported by path)."""

from aggregator.store.collection import Collection, Rows
from aggregator.store.location import DATABASE, STATE_DIR, sqlite_url
from aggregator.store.memory import MemoryStore
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
    "sqlite_url",
]
