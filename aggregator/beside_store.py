"""Records in a folder beside the store, a file for each, where a restore of the store does not reach them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from headway.durable import write_durably
from headway.errors import StoreError
from headway.fields import Fields, JsonValue, canonical_json, parse_json


def write_files(folder: Path, files: Iterable[tuple[str, dict[str, JsonValue]]], what: str) -> int:
    """Each file that is not there yet, by name, for the owner alone; how many were written.

    what: the records, in words. Raises StoreError.
    """
    written = 0
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, values in files:
            if not (folder / name).exists():
                write_durably(folder / name, canonical_json(values), 0o600)
                written += 1
    except OSError as error:
        raise StoreError(f"cannot write {what} into {folder}: {error.strerror or error}") from error
    return written


def files_in(folder: Path, bytes_max: int) -> Iterator[tuple[str, Fields]]:
    """Path and content of each file, by name; none where there is no folder. Raises StoreError for a damaged one."""
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            payload = file.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {file}: {error.strerror or error}") from error
        yield str(file), Fields(parse_json(payload, str(file), StoreError, bytes_max), str(file), StoreError)
