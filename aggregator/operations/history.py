"""What has happened to a fleet: the audit log, refusals, events, heads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from aggregator.audit import COUNT
from aggregator.registry import DeviceView, Overview, as_plain
from aggregator.store import EventRow, Store
from aggregator.store.rows import AUDIT, AuditRow
from headway.fields import JsonValue


@dataclass(frozen=True, slots=True)
class HeadView:
    """A published head. published_s: wall clock."""

    version: int
    method: str
    space: str
    published_s: float
    size: int


def audit_page(store: Store, after: int, count_max: int) -> list[AuditRow]:
    """Entries behind a number, the oldest first. In a transaction."""
    return store.rows(AUDIT).all(after=(after,) if after else (), count_max=count_max)


def last_audit(store: Store) -> AuditRow | None:
    """The newest entry; none before the first. In a transaction."""
    return store.rows(AUDIT).get(store.number(COUNT))


def plain_audit(rows: Sequence[AuditRow]) -> list[dict[str, JsonValue]]:
    """For JSON, with the detail as values instead of text."""
    return [asdict(row) | {"detail": json.loads(row.detail)} for row in rows]


def plain_event(row: EventRow) -> dict[str, JsonValue]:
    """Likewise."""
    return asdict(row) | {"detail": detail_of(row)}


def detail_of(row: EventRow) -> JsonValue:
    """What a device told with an event: JSON, or text where it is none."""
    try:
        detail: JsonValue = json.loads(row.detail)
    except ValueError:
        return row.detail
    return detail


def plain_overview(found: Overview) -> dict[str, JsonValue]:
    """A fleet at a glance, for JSON."""
    return {
        "devices": found.devices, "online": found.online, "labels": found.labels, "served_accuracy": found.served,
        "frozen_accuracy": found.frozen, "below_frozen": found.below, "troubled": found.troubled,
        "worst": [as_plain(DeviceView(row)) for row in found.worst], "events": [*map(plain_event, found.events)],
    }  # fmt: skip


def published_head(store: Store) -> HeadView | None:
    """The newest head of the fleet; none before the first. In a transaction."""
    row = store.head()
    return None if row is None else HeadView(row.version, row.method, row.space, row.published_s, len(row.payload))
