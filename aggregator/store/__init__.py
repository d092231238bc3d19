"""The aggregator's store: the protocol, an implementation in memory, and one on SQL (`sql`, imported by path)."""

from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import (
    DeliveryRow,
    DeviceRow,
    EventRow,
    QuarantineRow,
    RefusalRow,
    Store,
    StoredHead,
    StoredPart,
    StoredStatistics,
    StoredUpdate,
    ToldStatistics,
)

__all__ = [
    "DeliveryRow",
    "DeviceRow",
    "EventRow",
    "MemoryStore",
    "QuarantineRow",
    "RefusalRow",
    "Store",
    "StoredHead",
    "StoredPart",
    "StoredStatistics",
    "StoredUpdate",
    "ToldStatistics",
]
