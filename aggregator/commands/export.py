"""Implements `edge-fleet export`: what the store knows as JSON lines, for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from enum import StrEnum

from aggregator.commands.events import EVENTS_KEPT_MAX, plain_event, plain_refusal
from aggregator.operations import day_view
from aggregator.registry import Request, as_plain, days_of, list_page
from aggregator.store import Store
from aggregator.store.rows import AUDIT
from headway.errors import StoreError
from headway.fields import JsonValue, json_line, parse_json
from headway.ports import Clock

PAGE = 500
DAYS_MAX = 401


class Exported(StrEnum):
    """What can be exported."""

    DEVICES = "devices"
    DAYS = "days"
    EVENTS = "events"
    REFUSALS = "refusals"
    AUDIT = "audit"


def export(store: Store, clock: Clock, what: Exported) -> None:
    """``edge-fleet export``: a JSON object on each line, in pages, so that the service is never held up for long."""
    sources: dict[Exported, Callable[[], Iterator[JsonValue]]] = {
        Exported.DEVICES: lambda: _devices(store, clock),
        Exported.DAYS: lambda: _days(store, clock),
        Exported.EVENTS: lambda: _events(store),
        Exported.REFUSALS: lambda: _refusals(store),
        Exported.AUDIT: lambda: _audit(store),
    }
    for value in sources[what]():
        print(json_line(value))


def _devices(store: Store, clock: Clock) -> Iterator[JsonValue]:
    after = ""
    while True:
        with store.transaction():
            page = list_page(store, Request(after=after, count_max=PAGE), clock.wall_s())
        yield from map(as_plain, page.devices)
        after = page.next
        if not after:
            return


def _days(store: Store, clock: Clock) -> Iterator[JsonValue]:
    after = ""
    while True:
        with store.transaction():
            page = list_page(store, Request(after=after, count_max=PAGE), clock.wall_s(), marks=False)
            days = [(view.row, days_of(store, view.row, DAYS_MAX)) for view in page.devices]
        for row, of_device in days:
            yield from ({"device": row.device, **asdict(day_view(day, row))} for day in reversed(of_device))
        after = page.next
        if not after:
            return


def _events(store: Store) -> Iterator[JsonValue]:
    with store.transaction():
        rows = store.events(EVENTS_KEPT_MAX)
    yield from map(plain_event, reversed(rows))


def _refusals(store: Store) -> Iterator[JsonValue]:
    with store.transaction():
        rows = store.refusals()
    yield from map(plain_refusal, rows)


def _audit(store: Store) -> Iterator[JsonValue]:
    after: tuple[int, ...] = ()
    while True:
        with store.transaction():
            page = store.rows(AUDIT).all(after=after, count_max=PAGE)
        yield from (asdict(row) | {"detail": parse_json(row.detail.encode(), "detail", StoreError)} for row in page)
        if not page:
            return
        after = (page[-1].number,)
