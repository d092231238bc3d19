"""Reads what a list of devices is asked for: its filter, its order, and where the page before ended."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from aggregator.filters import Field, Quantity
from aggregator.registry.groups import resolved
from aggregator.registry.vocabulary import VOCABULARY
from aggregator.store import RegistryQuery
from headway.errors import ConfigError
from headway.fields import nearest, parse_json

if TYPE_CHECKING:
    from aggregator.registry.requests import Request
    from aggregator.store import ReadableStore

CURSOR_BYTES_MAX = 2000


def read_query(store: ReadableStore, request: Request) -> tuple[RegistryQuery, str]:
    """What a request asks of the registry, one row more than wanted, and the column that orders the rows."""
    condition = resolved(store, request.filter) if request.filter else None
    sort, descending = _sorting(request.sort)
    after = _read_cursor(request.after, request.sort) if request.after else None
    count_max = None if request.count_max is None else request.count_max + 1
    column = "device" if sort is None else sort.columns[0]
    return RegistryQuery(condition, sort, descending, after, count_max), column


def _sorting(sort: str) -> tuple[Field | None, bool]:
    """The field, and whether its column runs from the largest: a long silence is an early moment."""
    if not sort:
        return None, False
    name = sort.removeprefix("-")
    if name not in VOCABULARY.fields:
        raise ConfigError(f"devices cannot be sorted by {name!r}{nearest(name, tuple(VOCABULARY.fields))}")
    found = VOCABULARY.fields[name]
    return found, sort.startswith("-") != (found.quantity is Quantity.DURATION)


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
