"""Keeps what was spent of the privacy budget beside the store, too, where a restore does not reach it.

A file for each row of `privacy_spent`, written before its head leaves. At each start both are compared: what the store
does not know of is spent all the same, and what the folder does not have is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from aggregator.beside_store import files_in, write_files
from aggregator.store import Store
from aggregator.store.rows import PRIVACY_SPENT, PrivacySpentRow

LEDGER_FOLDER = "privacy"
FILE_BYTES_MAX = 4096


def write_spent(folder: Path, rows: Sequence[PrivacySpentRow]) -> None:
    """A file for each row that has none yet, for the owner alone. Raises StoreError."""
    # with its time: on another machine another head may have the same number
    files = ((f"{row.space[:16]}-{row.number:06d}-{int(row.at_s)}.json", asdict(row)) for row in rows)
    write_files(folder, files, "what was spent of the privacy budget")


def spent_beside(folder: Path) -> list[PrivacySpentRow]:
    """The rows of a folder; none where there is no folder. Raises StoreError for one that is damaged."""
    rows = []
    for _, fields in files_in(folder, FILE_BYTES_MAX):
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
