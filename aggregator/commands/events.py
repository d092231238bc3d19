"""Implements `edge-fleet events` and `edge-fleet refusals`: what devices told of themselves, and what was not taken."""

from __future__ import annotations

from aggregator.commands.moments import moment
from aggregator.commands.tables import aligned, print_json_rows, print_table
from aggregator.operations import detail_of
from aggregator.reach import Fleet, Look
from aggregator.store import UNKNOWN_DEVICE, EventRow, RefusalRow
from headway.fields import JsonValue
from headway.printable import printable

EVENT_HEADER = ("AT", "DEVICE", "EVENT", "DETAIL")
REFUSAL_HEADER, NUMBERS = ("DEVICE", "REASON", "COUNT", "LAST", "PROBLEM"), frozenset({"COUNT"})


def list_events(fleet: Fleet, device: str, name: str, count_max: int, in_json: bool) -> None:
    """``edge-fleet events``, newest first. device, name: '' for all."""
    rows = fleet.events(device, name, count_max)
    if in_json:
        print_json_rows([plain_event(row) for row in rows])
    elif rows:
        lines = [tuple(map(printable, (moment(row.received_s), row.device, row.name, row.detail))) for row in rows]
        print_table(EVENT_HEADER, lines, aligned([EVENT_HEADER, *lines]), frozenset())
    else:
        print("no event is like that" if device or name else "no device has told of an event yet")


def list_refusals(fleet: Look, in_json: bool) -> None:
    """``edge-fleet refusals``: of each device and reason how often, and the last problem; the newest first."""
    rows = sorted(fleet.refusals(), key=lambda row: (-row.last_s, row.device, row.reason))
    if in_json:
        print_json_rows([plain_refusal(row) for row in rows])
    elif rows:
        lines = [tuple(map(printable, (row.device or "-", row.reason, str(row.count), moment(row.last_s), row.problem)))
                 for row in rows]  # fmt: skip
        print_table(REFUSAL_HEADER, lines, aligned([REFUSAL_HEADER, *lines]), NUMBERS)
    else:
        print("nothing was refused yet")


def plain_event(row: EventRow) -> JsonValue:
    """Plain values, for JSON."""
    return {"received_s": row.received_s, "device": row.device, "event": row.name, "detail": detail_of(row)}


def plain_refusal(row: RefusalRow) -> JsonValue:
    """The same of a refusal; `device` is null for senders that are not in the fleet."""
    device = None if row.device == UNKNOWN_DEVICE else row.device
    return {"device": device, "reason": row.reason, "count": row.count, "last_s": row.last_s, "problem": row.problem}
