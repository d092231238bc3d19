"""Makes a backup while the service runs: a snapshot of the store, its bundles, and keys on request."""

from __future__ import annotations

import tempfile
from pathlib import Path

import headway
from aggregator.backup.archive import AUTHORITY, BUNDLES, NAME, SERVED, STORE, Contents, write_archive
from aggregator.backup.sqlite_file import copy_database
from headway.errors import StoreError


def make_backup(target: Path, state_dir: Path, database: Path, with_keys: bool, fleet: str, now_s: float) -> Contents:
    """Write `target`, which must not be there yet. Raises StoreError.

    with_keys: the folder of the fleet's authority, too; whoever has such a backup can let devices in.
    """
    if target.exists():
        raise StoreError(f"{target} is there already; give the backup another name")
    try:
        # beside the target, where there has to be room anyway; only the owner may look into such a folder
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.absolute().parent) as scratch:
            copy = Path(scratch) / STORE
            schema = copy_database(database, copy)
            # after the store: a bundle that it names is on the shelf by then
            files = {STORE: copy, **_files_of(state_dir, BUNDLES), **_files_of(state_dir, SERVED)}
            if with_keys:
                files |= _files_of(state_dir, AUTHORITY)
            return write_archive(target, files, now_s, fleet, headway.__version__, schema)
    except OSError as error:
        raise StoreError(f"cannot make the backup {target}: {error.strerror or error}") from error


def _files_of(state_dir: Path, folder: str) -> dict[str, Path]:
    """Path by name in the backup; what is being written has other names, and a lock holds nothing."""
    found = sorted(path for path in (state_dir / folder).glob("*") if path.is_file() and path.name != "lock")
    return {name: path for path in found if NAME.fullmatch(name := f"{folder}/{path.name}")}
