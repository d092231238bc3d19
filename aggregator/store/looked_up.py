"""What is stored of the devices of a batch, asked for together: a statement for each table instead of each message.

It holds for one transaction, and only for what nothing has been written of since: whoever writes forgets. What is not
here is asked of the database, so this is never more than a short cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Values = tuple[Any, ...]


class LookedUp:
    """Rows by table and device, the device in the first column. Empty rows are known, too: nothing is stored."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, list[Values]]] = {}

    def keep(self, table: str, devices: Sequence[str], rows: Iterable[Values]) -> None:
        """These are all rows of these devices."""
        found: dict[str, list[Values]] = {device: [] for device in devices}
        for row in rows:
            found[row[0]].append(row)
        self._tables.setdefault(table, {}).update(found)

    def rows(self, table: str, device: str) -> list[Values] | None:
        """All of a device; None where the database has to be asked."""
        known = self._tables.get(table)
        return None if known is None else known.get(device)

    def forget(self, table: str, device: str) -> None:
        """Something of the device was written."""
        known = self._tables.get(table)
        if known is not None:
            known.pop(device, None)

    def clear(self) -> None:
        """The transaction is over, or somebody wrote of many."""
        self._tables.clear()
