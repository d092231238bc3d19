"""Lists many devices: a few columns of each, as the database gives them, without an object for each device.

A list of 10,000 devices waits for little else than what it makes in Python of each value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aggregator.registry.listing import Marks, Page, Request, cursor_behind, marks_of, query_of
from aggregator.store import ReadableStore, Values


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """Columns of devices in order. rows: of each device its values, by `names`, and perhaps more behind them.

    marks: of those that have any, by name. next: for `Request.after`, empty behind the last.
    """

    names: tuple[str, ...]
    rows: Sequence[Values]
    marks: Mapping[str, Marks] = field(default_factory=dict)
    next: str = ""

    def columns(self) -> dict[str, tuple[object, ...]]:
        """Every column by its name; empty ones without devices."""
        found = [*zip(*self.rows, strict=True)] if self.rows else [()] * len(self.names)
        return dict(zip(self.names, found, strict=False))


def find_table(
    store: ReadableStore, request: Request, names: Sequence[str], now_s: float, texts: bool = True
) -> DeviceTable:
    """Columns of the devices that `find_page` finds, within `reading`. texts: with tags, attributes and notes.

    Raises ConfigError for a filter, a field or a cursor that is none.
    """
    query, column = query_of(store, request)
    rows = store.registry.table((*names, column, "device"), query, now_s)
    cursor = ""
    if request.count_max is not None and len(rows) > request.count_max:
        rows = rows[: request.count_max]
        cursor = cursor_behind(request, rows[-1][-2], rows[-1][-1])
    found = marks_of(store, [row[-1] for row in rows], texts)
    return DeviceTable((*names,), rows, found, cursor)


def table_of(page: Page, names: Sequence[str]) -> DeviceTable:
    """The same of devices that are objects already. names: of fields of `RegistryRow`."""
    rows = [tuple(getattr(view.row, name) for name in names) for view in page.devices]
    marks = {
        view.row.device: Marks(view.tags, view.attributes, view.note, view.quarantined)
        for view in page.devices
        if view.tags or view.attributes or view.note or view.quarantined
    }
    return DeviceTable((*names,), rows, marks, page.next)
