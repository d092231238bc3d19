"""Recovers from a damaged database: sets it aside, and goes on from the last good copy.

The copy (``agent.backup``) is written after every few checkpoints: the learner and where it stood with the
aggregator, under a SHA-256, without windows and outbox. A device that goes on from it has forgotten what came after,
so it begins a new epoch (edge_agent/sync/history.py), and the fleet keeps what it had counted.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np

from edge_agent.store.journal import Entry
from edge_agent.store.persisted import CHECKED_NAMES, CHECKED_PREFIXES
from edge_agent.store.pieces import INDEX, join
from edge_agent.store.store import Changes, Condition, SQLiteStore, Store, StoreFailure
from headway.durable import sync_folder, unchecked, write_durably
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.tensors import decode_tensors, encode_tensors

DATABASE, BACKUP, ACK_RECORD = "agent.sqlite", "agent.backup", "agent.witness"
# a copy after so many checkpoints: the learner is a few hundred kilobytes, and the card wears out
BACKUP_CHECKPOINTS = 4
BACKUP_BYTES_MAX = 1 << 30
ASIDE_MAX = 3
RECOVERED = "recovered"
DIGEST_BYTES = 32


def open_store(state_dir: Path) -> SQLiteStore:
    """The device's store; a damaged one is set aside and a new one filled from the backup, if that is good.

    The new one then says so under ``recovered``, until an agent has begun its new epoch. Raises StoreFailure.
    """
    path = state_dir / DATABASE
    try:
        store = SQLiteStore(path)
        store.check()
        verify(store)
        return store
    except StoreFailure as failure:
        if failure.condition is not Condition.DAMAGED:
            raise
        return start_over(state_dir, str(failure))


def start_over(state_dir: Path, problem: str) -> SQLiteStore:
    """Set the database aside and open a new one with what the backup holds."""
    kept = set_aside(state_dir / DATABASE)
    store = SQLiteStore(state_dir / DATABASE)
    try:
        changes, resumed_from = read_backup(state_dir / BACKUP), "the learner is that of the last backup"
    except StoreError as error:
        changes, resumed_from = Changes({}), f"no backup helps ({error}), so the device starts anew"
    text = f"{problem}; set aside as {kept.name}; {resumed_from}"
    # an empty store has nothing to go on from, so it needs no mark: its history is new anyway
    store.commit(changes if not changes.state else changes.then(Changes({RECOVERED: text.encode()})))
    return store


def verify(store: Store) -> None:
    """Check every sum in the store. Raises StoreFailure when one does not fit."""
    saved = store.load()
    try:
        if INDEX in saved:
            join(saved)
        for entry in store.journal():
            Entry.decode(entry)
        for name, value in saved.items():
            if name in CHECKED_NAMES or name.startswith(CHECKED_PREFIXES):
                unchecked(value, f"saved {name}")
    except StoreFailure:
        raise
    except StoreError as error:
        raise StoreFailure(Condition.DAMAGED, str(error)) from error


def set_aside(path: Path) -> Path:
    """Rename a database and its log to ``NAME.damaged-N``, the newest of at most three. Returns the new name."""
    numbers = [int(p.suffix.removeprefix(".damaged-")) for p in path.parent.glob(f"{path.name}.damaged-*")]
    target = path.with_name(f"{path.name}.damaged-{max(numbers, default=0) + 1}")
    try:
        for end in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(path.with_name(path.name + end), target.with_name(path.name + end + ".damaged"))
        os.replace(path, target)
        for number in sorted(numbers)[: max(0, len(numbers) + 1 - ASIDE_MAX)]:
            path.with_name(f"{path.name}.damaged-{number}").unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise StoreFailure(Condition.READ_ONLY, f"cannot set {path} aside: {error.strerror}") from error
    return target


def write_backup(path: Path, store: Store) -> None:
    """Copy the learner and the sync state. Raises StoreError; the old copy is then untouched."""
    blobs = {f"state.{name}": value for name, value in store.load().items()}
    blobs |= {f"journal.{number:06d}": entry for number, entry in enumerate(store.journal())}
    body = encode_tensors({name: np.frombuffer(blob, np.uint8) for name, blob in blobs.items()})
    write_durably(path, hashlib.sha256(body).digest() + body)


def read_backup(path: Path) -> Changes:
    """What an empty store must take in to go on from the copy. Raises StoreError."""
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path.name}: {error.strerror}") from error
    digest, body = payload[:DIGEST_BYTES], payload[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise StoreError(f"{path.name} is damaged: its check sum does not fit")
    tensors, _ = decode_tensors(body, path.name, StoreError, BACKUP_BYTES_MAX)
    blobs = {name: tensors[name].tobytes() for name in sorted(tensors)}
    state = {name.removeprefix("state."): blob for name, blob in blobs.items() if name.startswith("state.")}
    return Changes(state, journal=tuple(blob for name, blob in blobs.items() if name.startswith("journal.")))


class Backup:
    """Files beside the database: a copy of it, and the record of the highest acknowledgement of the aggregator."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir
        self._checkpoints = 0
        self._noted = (0, 0)

    def saved(self, changes: Changes, store: Store) -> None:
        """A commit went through. Raises StoreError."""
        self._checkpoints += changes.checkpoint
        if self._checkpoints >= BACKUP_CHECKPOINTS:
            self.back_up(store)

    def back_up(self, store: Store) -> None:
        """Copy now. Raises StoreError."""
        write_backup(self._folder / BACKUP, store)
        self._checkpoints = 0

    def replace_database(self, damaged: Store) -> SQLiteStore:
        """Close the damaged database, set it aside and open an empty one in its place. Raises StoreFailure."""
        damaged.close()
        set_aside(self._folder / DATABASE)
        return SQLiteStore(self._folder / DATABASE)

    def ack_record(self) -> tuple[int, int]:
        """Epoch and counter of the highest acknowledgement noted; zeros for none or an unreadable one."""
        try:
            payload = (self._folder / ACK_RECORD).read_bytes()
            fields = Fields(parse_json(payload, ACK_RECORD, StoreError), ACK_RECORD, StoreError)
            return fields.integer("epoch"), fields.integer("counter")
        except (OSError, StoreError):
            return 0, 0

    def note(self, epoch: int, counter: int) -> None:
        """The aggregator has acknowledged this; written when it is new. Raises StoreError."""
        if (epoch, counter) == self._noted:
            return
        write_durably(self._folder / ACK_RECORD, canonical_json({"epoch": epoch, "counter": counter}))
        self._noted = epoch, counter
