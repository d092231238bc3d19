"""Merges what is wanted for the fleet, for groups and for a device: the nearer to the device wins, value by value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aggregator.store.rows import DEVICE, FLEET, GROUP, WantedSettingsRow
from headway.errors import StoreError
from headway.fields import Fields, parse_json
from headway.wire import SettingValue, checked_values

RANKS = {FLEET: 0, GROUP: 1, DEVICE: 2}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value, and whose it is: `FLEET`, `GROUP` and its name, or `DEVICE`."""

    value: SettingValue
    scope: str
    name: str


def merged(rows: Iterable[WantedSettingsRow]) -> dict[str, Wanted]:
    """By ``table.key``. rows: those that concern one device, in any order.

    Of groups the one of the highest priority wins, and of those the one that changed last.
    """
    found: dict[str, Wanted] = {}
    for row in sorted(rows, key=lambda row: (RANKS[row.scope], row.priority, row.number)):
        found |= {key: Wanted(value, row.scope, row.name) for key, value in stored_values(row.settings).items()}
    return dict(sorted(found.items()))


def stored_values(text: str) -> Mapping[str, SettingValue]:
    """Raises StoreError."""
    fields = Fields({"values": parse_json(text.encode(), "settings", StoreError)}, "stored settings", StoreError)
    return checked_values(fields.mapping("values"), "stored settings", StoreError)
