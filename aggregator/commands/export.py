"""Implements `edge-fleet export`: what the store knows as JSON lines, for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from enum import StrEnum

from aggregator.commands.events import plain_event, plain_refusal
from aggregator.reach import Fleet
from aggregator.registry import Request, as_plain
from headway.errors import StoreError
from headway.fields import JsonValue, json_line, parse_json

PAGE = 500


class Exported(StrEnum):
    """What can be exported."""

    DEVICES = "devices"
    DAYS = "days"
    EVENTS = "events"
    REFUSALS = "refusals"
    AUDIT = "audit"


def export(fleet: Fleet, what: Exported) -> None:
    """``edge-fleet export``: a JSON object on each line, in pages, so that the service is never held up for long."""
    sources: dict[Exported, Callable[[Fleet], Iterator[JsonValue]]] = {
        Exported.DEVICES: _devices,
        Exported.DAYS: _days,
        Exported.EVENTS: _events,
        Exported.REFUSALS: lambda fleet: map(plain_refusal, fleet.refusals()),
        Exported.AUDIT: _audit,
    }
    for value in sources[what](fleet):
        print(json_line(value))


def _devices(fleet: Fleet) -> Iterator[JsonValue]:
    after = ""
    while True:
        page = fleet.device_page(Request(after=after, count_max=PAGE))
        yield from map(as_plain, page.devices)
        after = page.next
        if not after:
            return


def _days(fleet: Fleet) -> Iterator[JsonValue]:
    after = ""
    while True:
        page = fleet.day_page(after)
        yield from (asdict(day) for day in page.days)
        after = page.next
        if not after:
            return


def _events(fleet: Fleet) -> Iterator[JsonValue]:
    after = 0
    while page := fleet.events_after(after, PAGE):
        yield from (plain_event(row) for _, row in page)
        after = page[-1][0]


def _audit(fleet: Fleet) -> Iterator[JsonValue]:
    after = 0
    while page := fleet.audit_page(after, PAGE):
        yield from (asdict(row) | {"detail": parse_json(row.detail.encode(), "detail", StoreError)} for row in page)
        after = page[-1].number
