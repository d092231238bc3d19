"""The aggregator's store: the protocol, an implementation in memory, and one on SQL (`sql`, imported by path)."""

from aggregator.store.collection import Collection, Rows
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
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
    DeliveryRow,
    DeviceRow,
    EventRow,
    RefusalRow,
    StoredHead,
    StoredPart,
    StoredStatistics,
    StoredUpdate,
    ToldStatistics,
)

__all__ = [
    "DEGRADED",
    "GOOD",
    "OFFLINE",
    "ON",
    "ONLINE",
    "PAUSED",
    "PROBLEM",
    "UNKNOWN",
    "Collection",
    "DeliveryRow",
    "DeviceRow",
    "EventRow",
    "MemoryStore",
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
]
