"""Puts a backup in the place of a store, at one moment: before it the old store serves, after it the backup does."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aggregator.audit import record
from aggregator.backup.archive import AUTHORITY, BUNDLES, SERVED, STORE, Contents, checked_contents, unpack
from aggregator.backup.carrying import WorldFacts
from aggregator.backup.sqlite_file import BESIDE, close_database, copy_database
from aggregator.heads import SET_BACK
from aggregator.owner import give_to_owner_of
from aggregator.sealing import PAST, SERIES
from aggregator.store import schema
from aggregator.store.rows import CERTIFICATES, AuditRow
from aggregator.store.sql import SqlStore
from headway.durable import sync_folder, write_durably
from headway.errors import StoreError


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore came to. kept: the old store; undone: acts since the backup; remarks: what to know, in words."""

    contents: Contents
    devices: int
    kept: Path | None
    undone: tuple[AuditRow, ...]
    remarks: tuple[str, ...]


def restore(file: Path, state_dir: Path, database: Path, fleet: str, who: str, now_s: float) -> Restored:
    """Restore. The caller holds the lock of the state folder. fleet: '' where it is not known; who: for the audit log.

    Killed at any moment, it can be called again. Raises StoreError: the backup is damaged, of another fleet or of a
    later release, or another program has the store open; then nothing has changed.
    """
    contents = checked_contents(file)
    if fleet and contents.fleet and fleet != contents.fleet:
        raise StoreError(f"{file} is of fleet {contents.fleet!r}, the configuration of {fleet!r}; give the right one")
    if contents.schema > schema.SCHEMA:
        raise StoreError(f"{file} has schema {contents.schema}; this program reads {schema.SCHEMA}")
    remarks: list[str] = []
    stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=database.parent) as scratch:
            facts = _facts_of(database, Path(scratch), remarks)
            new = Path(scratch) / f"new-{STORE}"
            unpack(file, {STORE: new})
            devices, undone = _prepare(new, contents, facts, who, now_s, remarks)
            _restore_bundles(file, contents, state_dir)
            _restore_authority(file, contents, state_dir, stamp, Path(scratch), remarks)
            kept = _replace(database, new, stamp)
    except OSError as error:
        raise StoreError(f"cannot restore into {state_dir}: {error.strerror or error}") from error
    return Restored(contents, devices, kept, tuple(undone), tuple(remarks))


def _facts_of(database: Path, scratch: Path, remarks: list[str]) -> WorldFacts | None:
    """Of the store that is replaced, read from a copy; None without one, or where it cannot be read."""
    if not database.exists():
        return None
    damage = close_database(database)
    try:
        if damage:
            raise StoreError(damage)
        copy = scratch / f"old-{STORE}"
        copy_database(database, copy)
        with closing(SqlStore(f"sqlite:///{copy}")) as store:
            facts = WorldFacts.of(store)
    except StoreError as error:
        remarks.append(
            f"the old store cannot be read ({error}), so what was done since the backup is not known: revoke again "
            "devices and tokens that were shut out since, and let unused join codes end"
        )
        return None
    return facts


def _prepare(
    new: Path, contents: Contents, facts: WorldFacts | None, who: str, now_s: float, remarks: list[str]
) -> tuple[int, list[AuditRow]]:
    """Bring the unpacked store up to date, and enter what it cannot know. Returns its devices, and acts undone."""
    with closing(SqlStore(f"sqlite:///{new}")) as store, store.transaction():
        undone = [] if facts is None else facts.put_into(store)
        store.put_number(SET_BACK, 1)
        # what was published since is not known: numbers go on in a series that comes after all of it
        store.put_number(PAST, max(store.number(SERIES), store.number(PAST)))
        store.put_number(SERIES, 0)
        record(store, who, "restore", "", now_s, created_s=contents.created_s, undone=len(undone))
        devices = store.device_count()
        joined = store.rows(CERTIFICATES).count()
    if joined and not contents.has_keys:
        remarks.append(
            f"the backup has no keys: the fleet's authority must be in {AUTHORITY}/ of the state folder, from a backup "
            "made with --with-keys, before devices join or renew"
        )
    problem = close_database(new)
    if problem:
        raise StoreError(f"cannot finish the restored store: {problem}")
    return devices, undone


def _restore_bundles(file: Path, contents: Contents, state_dir: Path) -> None:
    """Add what is missing: a bundle's name is its digest, so one that is there is the same."""
    for folder in (BUNDLES, SERVED):
        (state_dir / folder).mkdir(exist_ok=True)
        give_to_owner_of(state_dir, state_dir / folder)
    missing = [
        entry.name for entry in contents.files
        if entry.name.startswith((f"{BUNDLES}/", f"{SERVED}/")) and not (state_dir / entry.name).exists()
    ]  # fmt: skip
    unpack(file, {name: state_dir / name for name in missing}, 0o644)
    for name in missing:
        give_to_owner_of(state_dir, state_dir / name)


def _restore_authority(
    file: Path, contents: Contents, state_dir: Path, stamp: str, scratch: Path, remarks: list[str]
) -> None:
    """The keys of the backup, if it has any; others that are there are kept aside.

    One file after the other: a moment without ca.key would let another program make a new authority, whom no device
    trusts; a key that does not fit the certificate beside it is refused, and this can be called again.
    """
    names = [entry.name for entry in contents.files if entry.name.startswith(f"{AUTHORITY}/")]
    if not names:
        return
    folder, aside = state_dir / AUTHORITY, state_dir / f"{AUTHORITY}.before-{stamp}"
    (scratch / AUTHORITY).mkdir()
    unpack(file, {name: scratch / name for name in names})
    wanted = {name: (scratch / name).read_bytes() for name in names}
    present = {name: (state_dir / name).read_bytes() for name in names if (state_dir / name).exists()}
    if any(payload != wanted[name] for name, payload in present.items()):
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        remarks.append(f"the keys in {folder} were others than those of the backup; they are kept in {aside}")
    folder.mkdir(mode=0o700, exist_ok=True)
    give_to_owner_of(state_dir, folder)
    for name, payload in wanted.items():
        if present.get(name) != payload:
            write_durably(state_dir / name, payload, 0o600 if name.endswith((".key", "aggregator.pem")) else 0o644)
            give_to_owner_of(state_dir, state_dir / name)


def _replace(database: Path, new: Path, stamp: str) -> Path | None:
    """Put the new store in the place of the old one; where that is now, None without one."""
    kept = None
    if database.exists():
        kept = database.with_name(f"{database.name}.before-{stamp}")
        number = 1
        while kept.exists():
            number += 1
            kept = database.with_name(f"{database.name}.before-{stamp}-{number}")
        for ending in BESIDE:
            # of a damaged store; beside the new one they would be taken for its own
            beside = database.with_name(database.name + ending)
            if beside.exists():
                beside.rename(kept.with_name(kept.name + ending))
        # a second name, not another one: there is no moment without a store, which would begin an empty one
        os.link(database, kept)
    new.chmod(0o600 if kept is None else database.stat().st_mode & 0o777)
    give_to_owner_of(database.parent, new)
    with new.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(new, database)
    sync_folder(database.parent)
    return kept
