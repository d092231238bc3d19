"""The aggregator's store: the protocol, an implementation in memory, and one on SQL (`sql`, imported by path)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headway.later import loaded_later

if TYPE_CHECKING:
    from aggregator.store.address import address_of
    from aggregator.store.collection import Collection, Rows
    from aggregator.store.location import DATABASE, STATE_DIR, sqlite_url
    from aggregator.store.memory import MemoryStore
    from aggregator.store.protocol import ReadableStore, Store
    from aggregator.store.refusal_row import UNKNOWN_DEVICE, RefusalRow
    from aggregator.store.registry_row import (
        DEGRADED,
        GOOD,
        OFFLINE,
        ON,
        ONLINE,
        PAUSED,
        PROBLEM,
        UNKNOWN,
        Heard,
        RegistryQuery,
        RegistryRow,
        RegistryTable,
        Values,
    )
    from aggregator.store.stored import (
        DeliveryRow,
        DeviceRow,
        EventQuery,
        EventRow,
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
    "Heard",
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
    "address_of",
    "sqlite_url",
]
WHERE = {
    "address": "address_of",
    "collection": "Collection Rows",
    "location": "DATABASE STATE_DIR sqlite_url",
    "memory": "MemoryStore",
    "protocol": "ReadableStore Store",
    "refusal_row": "RefusalRow UNKNOWN_DEVICE",
    "registry_row": (
        "DEGRADED GOOD Heard OFFLINE ON ONLINE PAUSED PROBLEM RegistryQuery RegistryRow RegistryTable UNKNOWN Values"
    ),
    "stored": (
        "DeliveryRow DeviceRow EventQuery EventRow StoredHead StoredPart StoredStatistics StoredUpdate ToldStatistics"
    ),
}
if not TYPE_CHECKING:
    __getattr__ = loaded_later(__name__, WHERE)
