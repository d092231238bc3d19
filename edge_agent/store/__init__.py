"""What the device must not lose: database, journal, checkpoints, backup, and a disk that refuses."""

from edge_agent.store.checkpointer import Checkpointer
from edge_agent.store.journal import (
    ClassAdded,
    ClassesChanged,
    Corrected,
    Entry,
    Guessed,
    HeadAdopted,
    PriorAdopted,
    Taught,
    redo,
)
from edge_agent.store.pieces import INDEX, PIECE, join
from edge_agent.store.recovery import DATABASE, RECOVERED, Backup, open_store, set_aside
from edge_agent.store.retrying import RetryingStore
from edge_agent.store.standby import StandbyStore
from edge_agent.store.store import ADVICE, Changes, Condition, MemoryStore, OutboxRow, SQLiteStore, Store, StoreFailure

__all__ = [
    "ADVICE",
    "DATABASE",
    "INDEX",
    "PIECE",
    "RECOVERED",
    "Backup",
    "Changes",
    "Checkpointer",
    "ClassAdded",
    "ClassesChanged",
    "Condition",
    "Corrected",
    "Entry",
    "Guessed",
    "HeadAdopted",
    "MemoryStore",
    "OutboxRow",
    "PriorAdopted",
    "RetryingStore",
    "SQLiteStore",
    "StandbyStore",
    "Store",
    "StoreFailure",
    "Taught",
    "join",
    "open_store",
    "redo",
    "set_aside",
]
