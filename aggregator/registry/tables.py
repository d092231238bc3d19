"""Lists many devices: a few columns of each, as the database gives them, without an object for each device.

A list of 10,000 devices waits for little else than what it makes in Python of each value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from aggregator.registry.marks import ASKED_MAX, Marks, marks_of
from aggregator.registry.requests import SHOWN, Request, cursor_behind, query_of
from headway.fields import JsonValue, json_line

if TYPE_CHECKING:
    from aggregator.registry.listing import Page
    from aggregator.store import ReadableStore, Values

# devices of a piece of JSON, and what stands between two
IN_A_PIECE, BETWEEN = 200, ",\n "


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


def find_json(store: ReadableStore, request: Request, now_s: float) -> tuple[list[str], str]:
    """A JSON list in ASCII, in pieces, with each device as `as_plain` has it; and `Page.next`. Within `reading`.

    In pieces, because twelve megabytes cost more in a text than in many. Raises ConfigError for a filter, a field or a
    cursor that is none.
    """
    query, _ = query_of(store, request)
    rows, count_max = store.registry.objects(SHOWN, query, now_s), request.count_max
    devices: list[str] | None = None
    if count_max is not None and count_max <= ASKED_MAX:
        found = [*rows]
        rows, devices = iter(found), [row[2] for row in found]
    ends = {device: _written(marks) for device, marks in marks_of(store, devices).items()}
    none, pieces, last = _written(Marks()), [], None
    wanted = islice(rows, count_max)
    while some := [*islice(wanted, IN_A_PIECE)]:
        pieces.append(BETWEEN.join([text[:-1] + ends.get(device, none) for text, _, device in some]))
        last = some[-1]
    is_more = count_max is not None and last is not None and next(rows, None) is not None
    joined = [part for piece in pieces for part in (BETWEEN, piece)][1:]
    return ["[", *joined, "]"], cursor_behind(request, last[1], last[2]) if is_more and last is not None else ""


def table_of(page: Page, names: Sequence[str]) -> DeviceTable:
    """The same of devices that are objects already. names: of fields of `RegistryRow`."""
    rows = [tuple(getattr(view.row, name) for name in names) for view in page.devices]
    marks = {
        view.row.device: Marks(view.tags, view.attributes, view.note, view.quarantined)
        for view in page.devices
        if view.tags or view.attributes or view.note or view.quarantined
    }
    return DeviceTable((*names,), rows, marks, page.next)


def _written(marks: Marks) -> str:
    """The end of a device's object."""
    plain: dict[str, JsonValue] = {
        "quarantined": marks.quarantined, "tags": {**marks.tags}, "attributes": {**marks.attributes}, "note": marks.note
    }  # fmt: skip
    return ", " + json_line(plain)[1:]
