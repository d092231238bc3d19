"""What a list of devices is asked for. A filter, an order and a cursor are read in `queries`, when there are any."""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from aggregator.store import RegistryQuery, RegistryRow
from headway.fields import JsonValue, canonical_json

if TYPE_CHECKING:
    from aggregator.store import ReadableStore

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


def query_of(store: ReadableStore, request: Request) -> tuple[RegistryQuery, str]:
    """What a request asks of the registry, one row more than wanted, and the column that orders the rows.

    Raises ConfigError for a filter, a field or a cursor that is none.
    """
    if request.filter or request.sort or request.after:
        from aggregator.registry.queries import read_query

        return read_query(store, request)
    return RegistryQuery(count_max=None if request.count_max is None else request.count_max + 1), "device"


def cursor_behind(request: Request, value: JsonValue, device: str) -> str:
    """For `Request.after`. value: of the last device in the column that orders the list."""
    return base64.urlsafe_b64encode(canonical_json([request.sort, value, device])).decode().rstrip("=")
