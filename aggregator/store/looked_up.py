"""What is stored of the devices of a batch, asked for together: a statement for each table instead of each message.

A table is asked when the first of its rows is wanted. What is known holds for one transaction, and only for what
nothing has been written of since: whoever writes forgets. What is not here is asked of the database, so this is never
more than a short cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Values = tuple[Any, ...]
Ask = Callable[[str, Sequence[str]], Iterable[Values]]


class LookedUp:
    """Rows by table and device, the device in the first column. Empty rows are known, too: nothing is stored."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, list[Values]]] = {}
        # of which devices a table is to be asked, and what asks it
        self._expected: dict[str, dict[str, None]] = {}
        self._ask: Ask = lambda table, devices: []

    def expect(self, tables: Iterable[str], devices: Sequence[str], ask: Ask) -> None:
        """All rows of these devices may be wanted. ask: gives those that a table has of some devices."""
        self._ask = ask
        for table in tables:
            self._expected.setdefault(table, {}).update(dict.fromkeys(devices))

    def rows(self, table: str, device: str) -> list[Values] | None:
        """All of a device; None where the database has to be asked."""
        expected = self._expected.get(table)
        if expected and device in expected:
            del self._expected[table]
            self._keep(table, [*expected])
        known = self._tables.get(table)
        return None if known is None else known.get(device)

    def forget(self, table: str, device: str) -> None:
        """Something of the device was written."""
        for known in (self._tables.get(table), self._expected.get(table)):
            if known:
                known.pop(device, None)

    def clear(self) -> None:
        """The transaction is over, or somebody wrote of many."""
        self._tables.clear()
        self._expected.clear()

    def _keep(self, table: str, devices: Sequence[str]) -> None:
        found: dict[str, list[Values]] = {device: [] for device in devices}
        for row in self._ask(table, devices):
            found[row[0]].append(row)
        self._tables.setdefault(table, {}).update(found)
