"""Finds devices: a page of those that meet a filter, or one in full, with everything that is kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aggregator.filters import All, Comparison
from aggregator.registry.backfilling import backfill
from aggregator.registry.groups import resolved
from aggregator.registry.marks import Marks, marks_of
from aggregator.registry.requests import SHOWN, Request, cursor_behind, query_of
from aggregator.registry.vocabulary import VOCABULARY
from aggregator.store import ONLINE, ReadableStore, RegistryQuery, RegistryRow, Store
from aggregator.store.rows import DAYS, GROUPS, MEMBERS, DayRow
from headway.errors import UnknownNameError
from headway.fields import JsonValue


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device as people see it. quarantined: why what it reported does not count; empty when it counts."""

    row: RegistryRow
    tags: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    note: str = ""
    quarantined: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Devices in order; next: for `Request.after`, empty behind the last."""

    devices: list[DeviceView]
    next: str


def list_page(store: Store, request: Request, now_s: float, marks: bool = True) -> Page:
    """In a transaction. now_s: wall clock. marks: with tags, attributes and notes, which take a third of the time.

    Raises ConfigError for a filter, a field or a cursor that is none.
    """
    backfill(store)
    return find_page(store, request, now_s, marks)


def find_page(store: ReadableStore, request: Request, now_s: float, marks: bool = True) -> Page:
    """The same of a store in which every device has its row, within `reading`."""
    query, column = query_of(store, request)
    rows = store.registry.find(query, now_s)
    cursor = ""
    if request.count_max is not None and len(rows) > request.count_max:
        rows = rows[: request.count_max]
        cursor = cursor_behind(request, getattr(rows[-1], column), rows[-1].device)
    return Page(_views(store, rows, marks), cursor)


def device_names(store: Store, request: Request, now_s: float) -> list[str]:
    """Names of the devices alone, in order. In a transaction. Raises ConfigError as `list_page` does."""
    backfill(store)
    condition = resolved(store, request.filter) if request.filter else None
    return [row.device for row in store.registry.find(RegistryQuery(condition), now_s)]


def device_view(store: Store, device: str) -> DeviceView:
    """One device. In a transaction. Raises UnknownNameError when there is none."""
    backfill(store)
    row = store.registry.get(device)
    if row is None:
        raise UnknownNameError(f"no device {device!r} in this fleet; `edge-fleet devices` lists them")
    return _views(store, [row], True)[0]


def groups_of(store: Store, device: str, now_s: float) -> list[str]:
    """The groups that a device belongs to now, lists and filters. In a transaction."""
    lists = {row.group_name for row in store.rows(MEMBERS).all(device)}
    this = Comparison(VOCABULARY.fields["device"], "==", device)
    found = []
    for group in store.rows(GROUPS).all():
        if group.name in lists or (
            group.condition and store.registry.count(All((this, resolved(store, group.condition))), now_s)
        ):
            found.append(group.name)
    return found


def days_of(store: Store, row: RegistryRow, count_max: int) -> list[DayRow]:
    """The last days on which the device said anything, newest first, the present one included. In a transaction."""
    present = DayRow(row.device, row.day, row.day_labels, row.day_served_right, row.day_frozen_right, row.day_bytes)
    return [*([present] if row.day else []), *reversed(store.rows(DAYS).all(row.device))][:count_max]


def as_plain(view: DeviceView) -> dict[str, JsonValue]:
    """Plain values, for JSON. ``online`` and ``source`` are `link` and `head` under the names of earlier releases."""
    row: dict[str, JsonValue] = {name: getattr(view.row, name) for name in SHOWN}
    row |= {"online": view.row.link == ONLINE, "source": view.row.head, "quarantined": view.quarantined}
    return row | {"tags": {**view.tags}, "attributes": {**view.attributes}, "note": view.note}


def _views(store: ReadableStore, rows: Sequence[RegistryRow], texts: bool) -> list[DeviceView]:
    found = marks_of(store, [row.device for row in rows], texts)
    return [_view(row, found.get(row.device)) for row in rows]


def _view(row: RegistryRow, marks: Marks | None) -> DeviceView:
    if marks is None:
        return DeviceView(row)
    return DeviceView(row, marks.tags, marks.attributes, marks.note, marks.quarantined)
