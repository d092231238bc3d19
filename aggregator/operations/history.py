"""What has happened to a fleet: the audit log, refusals, events, heads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from aggregator.audit import COUNT
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


def plain_events(rows: Sequence[EventRow]) -> list[dict[str, JsonValue]]:
    """Likewise."""
    return [asdict(row) | {"detail": json.loads(row.detail) if row.detail else {}} for row in rows]


def published_head(store: Store) -> HeadView | None:
    """The newest head of the fleet; none before the first. In a transaction."""
    row = store.head()
    return None if row is None else HeadView(row.version, row.method, row.space, row.published_s, len(row.payload))
