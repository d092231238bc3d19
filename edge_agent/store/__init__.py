"""What the device must not lose: database, journal, checkpoints, backup, and a disk that refuses."""

from edge_agent.store.checkpointer import Recorder
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
from edge_agent.store.recovery import DATABASE, RECOVERED, Safekeeping, open_store, set_aside
from edge_agent.store.retrying import Keeper
from edge_agent.store.standby import StandbyStore
from edge_agent.store.store import ADVICE, Changes, Condition, MemoryStore, OutboxRow, SQLiteStore, Store, StoreFailure

__all__ = [
    "ADVICE",
    "DATABASE",
    "INDEX",
    "PIECE",
    "RECOVERED",
    "Changes",
    "ClassAdded",
    "ClassesChanged",
    "Condition",
    "Corrected",
    "Entry",
    "Guessed",
    "HeadAdopted",
    "Keeper",
    "MemoryStore",
    "OutboxRow",
    "PriorAdopted",
    "Recorder",
    "SQLiteStore",
    "Safekeeping",
    "StandbyStore",
    "Store",
    "StoreFailure",
    "Taught",
    "join",
    "open_store",
    "redo",
    "set_aside",
]
