"""Keeps what was spent of the privacy budget beside the store, too, where a restore does not reach it.

A file for each row of `privacy_spent`, written before its head leaves. At each start both are compared: what the store
does not know of is spent all the same, and what the folder does not have is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from aggregator.store import Store
from aggregator.store.rows import PRIVACY_SPENT, PrivacySpentRow
from headway.durable import write_durably
from headway.errors import StoreError
from headway.fields import Fields, canonical_json, parse_json

LEDGER_FOLDER = "privacy"
FILE_BYTES_MAX = 4096


def write_spent(folder: Path, rows: Sequence[PrivacySpentRow]) -> None:
    """A file for each row that has none yet, for the owner alone. Raises StoreError."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for row in rows:
            # with its time: on another machine another head may have the same number
            file = folder / f"{row.space[:16]}-{row.number:06d}-{int(row.at_s)}.json"
            if not file.exists():
                write_durably(file, canonical_json(asdict(row)), 0o600)
    except OSError as error:
        raise StoreError(
            f"cannot write what was spent of the privacy budget into {folder}: {error.strerror}"
        ) from error


def spent_beside(folder: Path) -> list[PrivacySpentRow]:
    """The rows of a folder; none where there is no folder. Raises StoreError for one that is damaged."""
    rows = []
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            payload = file.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {file}: {error.strerror or error}") from error
        fields = Fields(parse_json(payload, str(file), StoreError, FILE_BYTES_MAX), str(file), StoreError)
        row = PrivacySpentRow(
            fields.text("space"), fields.integer("number", low=1), fields.integer("version"), fields.number("at_s"),
            fields.integer("heads", low=1), fields.text("unit"), fields.number("multiplier", low=1e-9),
        )  # fmt: skip
        fields.finish()
        rows.append(row)
    return rows


def carry_spent(store: Store, rows: Sequence[PrivacySpentRow]) -> int:
    """Spend what this store does not know of, in a transaction, before anything is made of it; how many rows."""
    stored = store.rows(PRIVACY_SPENT)
    known = {replace(row, number=0) for row in stored.all()}
    new = [row for row in rows if replace(row, number=0) not in known]
    for row in new:
        free = stored.get(row.space, row.number) is None
        stored.put(row if free else replace(row, number=1 + max(each.number for each in stored.all(row.space))))
    return len(new)
