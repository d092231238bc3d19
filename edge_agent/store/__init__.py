"""What the device must not lose: database, journal, checkpoints, backup, and a disk that refuses."""

from edge_agent.store.checkpointer import Checkpointer
from edge_agent.store.journal import Entry, redo
from edge_agent.store.memory import MemoryStore
from edge_agent.store.persisted import (
    CHECKED_NAMES,
    COMMANDS,
    CORRECTIONS,
    EARLY,
    EPOCH,
    MARK,
    ORDER,
    ORDER_NUMBERS,
    RECORDS,
    SHIFT,
    WANTED,
    Extent,
    Persisted,
    Saved,
)
from edge_agent.store.pieces import INDEX, PIECE, join
from edge_agent.store.recovery import (
    ACK_RECORD,
    BACKUP,
    BLOB,
    DATABASE,
    OWNER,
    RECOVERED,
    RECOVERY,
    RELEASE,
    Backup,
    counted_in,
    open_store,
    set_aside,
)
from edge_agent.store.retrying import RetryingStore
from edge_agent.store.standby import StandbyStore
from edge_agent.store.store import ADVICE, Changes, Condition, OutboxRow, SQLiteStore, Store, StoreFailure

__all__ = [
    "ACK_RECORD",
    "ADVICE",
    "BACKUP",
    "BLOB",
    "CHECKED_NAMES",
    "COMMANDS",
    "CORRECTIONS",
    "DATABASE",
    "EARLY",
    "EPOCH",
    "INDEX",
    "MARK",
    "ORDER",
    "ORDER_NUMBERS",
    "OWNER",
    "PIECE",
    "RECORDS",
    "RECOVERED",
    "RECOVERY",
    "RELEASE",
    "SHIFT",
    "WANTED",
    "Backup",
    "Changes",
    "Checkpointer",
    "Condition",
    "Entry",
    "Extent",
    "MemoryStore",
    "OutboxRow",
    "Persisted",
    "RetryingStore",
    "SQLiteStore",
    "Saved",
    "StandbyStore",
    "Store",
    "StoreFailure",
    "counted_in",
    "join",
    "open_store",
    "redo",
    "set_aside",
]
