"""Recovers from a database that is damaged, missing, empty or older than its own backup.

The copy (``agent.backup``) is written after every few checkpoints: the learner and where it stood with the
aggregator, under a SHA-256, without windows and outbox. A device that goes on from it has forgotten what came after,
so it begins a new epoch (edge_agent/sync/history.py), and the fleet keeps what it had counted.

A start goes on from the file that holds more of this device's history. Nothing is deleted for it: the other one is set
aside, the newest three of a kind, and what was done is logged, told as an event and shown by ``edge-agent status``.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.store.journal import Entry
from edge_agent.store.persisted import CHECKED_NAMES, CHECKED_PREFIXES
from edge_agent.store.pieces import INDEX, join
from edge_agent.store.store import Changes, Condition, SQLiteStore, Store, StoreFailure
from headway.durable import read_regular, sync_folder, unchecked, write_durably
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json
from headway.tensors import decode_tensors, encode_tensors

log = logging.getLogger("edge-agent")

DATABASE, BACKUP, ACK_RECORD = "agent.sqlite", "agent.backup", "agent.witness"
# a copy after so many checkpoints: the learner is a few hundred kilobytes, and the card wears out
BACKUP_CHECKPOINTS = 4
BACKUP_BYTES_MAX = 1 << 30
ASIDE_MAX = 3
# names in the store: why this start recovered; whose database it is; the newest bundle that ran; the last recovery
RECOVERED, OWNER, RELEASE, RECOVERY = "recovered", "device", "release", "recovery"
# what a database is told beside the learner, and a new one must take over
CARRIED = (OWNER, RELEASE, RECOVERY)
# under which agents before journals kept the whole learner
BLOB = "learner"
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Position:
    """How far a database or a backup has come: its epoch, the counter in it, and the starts of the program so far."""

    epoch: int
    counter: int
    boot: int

    def __str__(self) -> str:
        return f"start {self.boot}, counter {self.counter} of epoch {self.epoch}"

    def is_behind(self, other: Position) -> bool:
        """Whether the other one holds more of the same device's history."""
        if self.epoch == other.epoch:
            return self.counter < other.counter
        return self.boot < other.boot


def position_of(state: Mapping[str, bytes], journal: Sequence[bytes]) -> Position | None:
    """Where what is saved stands; None where no learner is saved. Raises StoreError on damage."""
    fields = _saved_sync(state, journal)
    if fields is None:
        return None
    return Position(fields.integer("epoch"), fields.integer("counter"), fields.integer("boot"))


def counted_in(state: Mapping[str, bytes], journal: Sequence[bytes]) -> tuple[int, int] | None:
    """The number of the last start, and of the last spool file that was consumed; likewise."""
    fields = _saved_sync(state, journal)
    return None if fields is None else (fields.integer("boot"), fields.integer("consumed"))


def _saved_sync(state: Mapping[str, bytes], journal: Sequence[bytes]) -> Fields | None:
    if INDEX not in state and BLOB not in state:
        return None
    if "sync" not in state:
        raise StoreError("what is saved lacks 'sync'")
    payload = Entry.decode(journal[-1]).sync if journal else state["sync"]
    return Fields(parse_json(payload, "saved sync state", StoreError), "saved sync state", StoreError)


def open_store(state_dir: Path) -> SQLiteStore:
    """The device's store. One that is damaged, or behind the backup, is set aside, and a new one filled from the backup
    if that is good; one that is missing or empty is filled from it, too.

    The new one then says so under ``recovered``, until an agent has begun its new epoch. Raises StoreFailure.
    """
    path = state_dir / DATABASE
    problem = f"{path} {_lack(path)}"
    if path.exists() and not path.is_file():
        return start_over(state_dir, f"{path} is not a file")
    if not _has_content(path):
        _set_log_aside(path)
    store = None
    try:
        store = SQLiteStore(path)
        store.check()
        found = verify(store)
    except StoreFailure as failure:
        if store is not None:
            store.close()
        if failure.condition is not Condition.DAMAGED:
            raise
        return start_over(state_dir, str(failure))
    if found is None:
        return _filled(store, state_dir, problem) if _has_traces(state_dir) else store
    saved = Backup(state_dir).position()
    if saved is not None and found.is_behind(saved):
        store.close()
        return start_over(
            state_dir,
            f"{path} is behind {BACKUP} ({found} against {saved}): its newest part is lost, or an older copy was put "
            "in its place",
        )
    return store


def start_over(state_dir: Path, problem: str) -> SQLiteStore:
    """Set the database aside and open a new one with what the backup holds."""
    kept = set_aside(state_dir / DATABASE)
    return _filled(SQLiteStore(state_dir / DATABASE), state_dir, f"{problem}; set aside as {kept.name}")


def _filled(store: SQLiteStore, state_dir: Path, problem: str) -> SQLiteStore:
    """An empty store with what the backup holds, and the line about it that status and the fleet are shown."""
    try:
        changes, resumed_from = read_backup(state_dir / BACKUP), "the learner is that of the last backup"
    except StoreError as error:
        changes, resumed_from = Changes({}), f"no backup helps ({error}), so the device starts anew"
        epoch, counter = Backup(state_dir).ack_record()
        if counter:
            resumed_from += f"; the aggregator keeps what it acknowledged: counter {counter} of epoch {epoch}"
    store.commit(changes.then(Changes({RECOVERED: f"{problem}; {resumed_from}".encode()})))
    return store


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False  # whatever it is, opening it says so


def _lack(path: Path) -> str:
    if not path.exists():
        return "is missing"
    return "holds nothing of a learner" if _has_content(path) else "is empty"


def _has_traces(state_dir: Path) -> bool:
    """Whether a device has worked in this folder before."""
    return any((state_dir / name).exists() for name in (BACKUP, ACK_RECORD))


def _set_log_aside(path: Path) -> None:
    """SQLite deletes a log whose database is gone; what it holds may still help somebody."""
    try:
        for end in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.replace(path.with_name(path.name + end), path.with_name(path.name + end + ".damaged"))
    except OSError as error:
        raise StoreFailure(Condition.READ_ONLY, f"cannot set {path}{end} aside: {error.strerror}") from error


def verify(store: Store) -> Position | None:
    """Check every sum in the store; where it stands, None when it holds no learner. Raises StoreFailure when one does
    not fit."""
    saved, journal = store.load(), store.journal()
    try:
        if INDEX in saved:
            join(saved)
        for entry in journal:
            Entry.decode(entry)
        for name, value in saved.items():
            if name in CHECKED_NAMES or name.startswith(CHECKED_PREFIXES):
                unchecked(value, f"saved {name}")
        return position_of(saved, journal)
    except StoreFailure:
        raise
    except StoreError as error:
        raise StoreFailure(Condition.DAMAGED, str(error)) from error


def set_aside(path: Path, mark: str = "damaged") -> Path:
    """Rename a file, and a database's log, to ``NAME.MARK-N``, the newest of at most three. Returns the new name."""
    target = _free_name(path, mark)
    _set_log_aside(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, target)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreFailure(Condition.READ_ONLY, f"cannot set {path} aside: {error.strerror}") from error
    return target


def _free_name(path: Path, mark: str) -> Path:
    """The next ``NAME.MARK-N``, with room made for it."""
    prefix = f"{path.name}.{mark}-"
    ends = (found.name.removeprefix(prefix) for found in path.parent.glob(f"{prefix}*"))
    numbers = sorted(int(end) for end in ends if end.isdecimal())
    try:
        for number in numbers[: max(0, len(numbers) + 1 - ASIDE_MAX)]:
            path.with_name(f"{prefix}{number}").unlink()
    except OSError as error:
        raise StoreFailure(Condition.READ_ONLY, f"cannot set {path} aside: {error.strerror}") from error
    return path.with_name(f"{prefix}{max(numbers, default=0) + 1}")


def write_backup(path: Path, store: Store) -> None:
    """Copy the learner and the sync state. Raises StoreError; the old copy is then untouched."""
    blobs = {f"state.{name}": value for name, value in store.load().items()}
    blobs |= {f"journal.{number:06d}": entry for number, entry in enumerate(store.journal())}
    body = encode_tensors({name: np.frombuffer(blob, np.uint8) for name, blob in blobs.items()})
    write_durably(path, hashlib.sha256(body).digest() + body)


def read_backup(path: Path) -> Changes:
    """What an empty store must take in to go on from the copy. Raises StoreError."""
    try:
        payload = read_regular(path)
    except OSError as error:
        raise StoreError(f"cannot read {path.name}: {error.strerror}") from error
    digest, body = payload[:DIGEST_BYTES], payload[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise StoreError(f"{path.name} is damaged: its check sum does not fit")
    tensors, _ = decode_tensors(body, path.name, StoreError, BACKUP_BYTES_MAX)
    blobs = {name: tensors[name].tobytes() for name in sorted(tensors)}
    state = {name.removeprefix("state."): blob for name, blob in blobs.items() if name.startswith("state.")}
    journal = tuple(blob for name, blob in blobs.items() if name.startswith("journal."))
    if position_of(state, journal) is None:
        raise StoreError(f"{path.name} holds no learner")
    return Changes(state, journal=journal)


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

    def position(self) -> Position | None:
        """Where the copy stands; None without a good one."""
        try:
            changes = read_backup(self._folder / BACKUP)
            return position_of(changes.state, changes.journal)
        except StoreError:
            return None  # `review` says so

    def review(self, store: Store) -> str:
        """Make a copy that is missing, damaged or of another history anew, at the start; the old one is kept aside.

        Returns a line for people, empty when the copy was good or there is nothing to copy yet.
        """
        found, path = position_of(store.load(), store.journal()), self._folder / BACKUP
        if found is None:
            return ""
        try:
            changes = read_backup(path)
            saved = position_of(changes.state, changes.journal)
            if saved is None or saved.epoch == found.epoch:
                return ""
            problem, mark = f"{path} is of another history (epoch {saved.epoch}, not {found.epoch})", "kept"
        except StoreError as error:
            problem, mark = f"there was no good copy of the database: {error}", "damaged"
        try:
            if path.exists():
                problem += f"; kept as {self._keep(path, mark).name}"
            self.back_up(store)
        except StoreError as error:
            return f"{problem}; none can be made now: {error}"
        return f"{problem}; made anew"

    def replace_database(self, damaged: Store) -> SQLiteStore:
        """Close the damaged database, set it aside and open an empty one in its place. Raises StoreFailure."""
        carried = self._carried(damaged)
        damaged.close()
        set_aside(self._folder / DATABASE)
        store = SQLiteStore(self._folder / DATABASE)
        store.commit(Changes(carried))
        return store

    def _carried(self, damaged: Store) -> dict[str, bytes]:
        """What an agent's memory does not hold of the database, as far as it can be read, there or in the copy."""
        try:
            state = damaged.load()
        except StoreError:
            try:
                state = read_backup(self._folder / BACKUP).state
            except StoreError as error:
                log.warning("which bundles have run here is not known any more: %s", error)
                return {}
        return {name: state[name] for name in CARRIED if name in state}

    def _keep(self, path: Path, mark: str) -> Path:
        """A second name for the copy, so that the first never names nothing; where links are unknown it is renamed."""
        target = _free_name(path, mark)
        try:
            os.link(path, target)
        except OSError:
            return set_aside(path, mark)
        return target

    def ack_record(self) -> tuple[int, int]:
        """Epoch and counter of the highest acknowledgement noted; zeros for none or an unreadable one."""
        try:
            payload = read_regular(self._folder / ACK_RECORD)
            fields = Fields(parse_json(payload, ACK_RECORD, StoreError), ACK_RECORD, StoreError)
            return fields.integer("epoch"), fields.integer("counter")
        except FileNotFoundError:
            return 0, 0
        except (OSError, StoreError) as error:
            log.warning("%s is of no use: %s; the next acknowledgement is noted anew", ACK_RECORD, error)
            return 0, 0

    def note(self, epoch: int, counter: int) -> None:
        """The aggregator has acknowledged this; written when it is new. Raises StoreError."""
        if (epoch, counter) == self._noted:
            return
        write_durably(self._folder / ACK_RECORD, canonical_json({"epoch": epoch, "counter": counter}))
        self._noted = epoch, counter
