"""Finds devices: a page of those that meet a filter, or one in full, with everything that is kept of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

from aggregator.filters import All, Comparison, Field, Quantity
from aggregator.registry.backfilling import backfill
from aggregator.registry.groups import resolved
from aggregator.registry.vocabulary import VOCABULARY
from aggregator.store import ONLINE, ReadableStore, RegistryQuery, RegistryRow, Store
from aggregator.store.rows import (
    DAYS,
    GROUPS,
    MEMBERS,
    NOTE,
    PROPERTIES,
    QUARANTINED,
    TAG,
    DayRow,
    PropertyRow,
    QuarantineRow,
)
from headway.errors import ConfigError, UnknownNameError
from headway.fields import JsonValue, canonical_json, nearest, parse_json

# devices of a page up to which their tags are asked for; beyond, those of the fleet are read at once
ASKED_MAX = 1000
CURSOR_BYTES_MAX = 2000
# columns of the row that only serve to go on counting
INNER = ("bundle_and_version", "served_right", "frozen_right", "recent_weight")
SHOWN = [
    column.name for column in fields(RegistryRow) if column.name not in INNER and not column.name.startswith("day")
]


@dataclass(frozen=True, slots=True)
class Request:
    """Which devices. filter: '' for all. sort: a field, with a minus before it from the largest; '' for the name.

    after: `Page.next` of the page before, with the same sort. count_max: None for all.
    """

    filter: str = ""
    sort: str = ""
    after: str = ""
    count_max: int | None = None


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
    condition = resolved(store, request.filter) if request.filter else None
    sort, descending = _sorting(request.sort)
    after = _read_cursor(request.after, request.sort) if request.after else None
    count_max = None if request.count_max is None else request.count_max + 1
    rows = store.registry.find(RegistryQuery(condition, sort, descending, after, count_max), now_s)
    more = request.count_max is not None and len(rows) > request.count_max
    rows = rows[: request.count_max]
    cursor = ""
    if more:
        column = "device" if sort is None else sort.columns[0]
        cursor = _cursor(request.sort, getattr(rows[-1], column), rows[-1].device)
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


def _views(store: ReadableStore, rows: Sequence[RegistryRow], marks: bool) -> list[DeviceView]:
    properties: dict[str, list[PropertyRow]] = {}
    for text in _of(store, rows) if marks else ():
        properties.setdefault(text.device, []).append(text)
    aside: dict[str, list[QuarantineRow]] = {}
    for report in store.rows(QUARANTINED).all():
        aside.setdefault(report.device, []).append(report)
    return [_view(row, properties.get(row.device, []), aside.get(row.device, [])) for row in rows]


def _of(store: ReadableStore, rows: Sequence[RegistryRow]) -> Iterable[PropertyRow]:
    kept = store.rows(PROPERTIES)
    return kept.all() if len(rows) > ASKED_MAX else kept.among([row.device for row in rows])


def _view(row: RegistryRow, properties: Sequence[PropertyRow], aside: Sequence[QuarantineRow]) -> DeviceView:
    if not properties and not aside:
        return DeviceView(row)
    tags = {text.name: text.value for text in properties if text.family == TAG}
    attributes = {text.name: text.value for text in properties if text.family not in (TAG, NOTE)}
    note = "".join(text.value for text in properties if text.family == NOTE)
    return DeviceView(row, tags, attributes, note, "; ".join(dict.fromkeys(report.problem for report in aside)))


def _sorting(sort: str) -> tuple[Field | None, bool]:
    """The field, and whether its column runs from the largest: a long silence is an early moment."""
    if not sort:
        return None, False
    name = sort.removeprefix("-")
    if name not in VOCABULARY.fields:
        raise ConfigError(f"devices cannot be sorted by {name!r}{nearest(name, tuple(VOCABULARY.fields))}")
    found = VOCABULARY.fields[name]
    return found, sort.startswith("-") != (found.quantity is Quantity.DURATION)


def _cursor(sort: str, value: JsonValue, device: str) -> str:
    return base64.urlsafe_b64encode(canonical_json([sort, value, device])).decode().rstrip("=")


def _read_cursor(text: str, sort: str) -> tuple[str | float | None, str]:
    refused = ConfigError(f"the cursor {text[:40]!r} is none of this list; begin without one, and keep the sort")
    try:
        padded = text + "=" * (-len(text) % 4)
        value = parse_json(
            base64.b64decode(padded, altchars=b"-_", validate=True), "cursor", ConfigError, CURSOR_BYTES_MAX
        )
    except (ValueError, binascii.Error) as error:
        raise refused from error
    match value:
        case [str(given), None | str() | int() | float() as last, str(device)] if given == sort:
            column = "device" if not sort else VOCABULARY.fields[sort.removeprefix("-")].columns[0]
            is_text = VOCABULARY.fields[column].quantity is Quantity.TEXT if column in VOCABULARY.fields else False
            if last is None or isinstance(last, str) == is_text:
                return last, device
    raise refused
