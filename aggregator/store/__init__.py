"""The aggregator's store: the protocol, SQLite through SQLAlchemy (`sql`, imported by path), and memory."""

from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import (
    DeliveryRow,
    DeviceRow,
    EventRow,
    RefusalRow,
    Store,
    StoredHead,
    StoredPart,
    StoredStatistics,
    StoredUpdate,
)

__all__ = [
    "DeliveryRow",
    "DeviceRow",
    "EventRow",
    "MemoryStore",
    "RefusalRow",
    "Store",
    "StoredHead",
    "StoredPart",
    "StoredStatistics",
    "StoredUpdate",
]
