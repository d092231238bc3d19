"""Tags and notes, which people put on devices, and attributes, which devices report of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from aggregator.store import Store
from aggregator.store.rows import ATTRIBUTE, NOTE, PROPERTIES, TAG, PropertyRow
from headway.errors import ConfigError
from headway.printable import is_printable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
VALUE_CHARACTERS_MAX = 256
NOTE_CHARACTERS_MAX = 2000
TAGS_MAX = 64


def set_tags(store: Store, devices: Sequence[str], given: Mapping[str, str], unset: Iterable[str]) -> None:
    """Set tags of devices by name, and take those of `unset` away. In a transaction. Raises ConfigError."""
    for name, value in given.items():
        _check_name(name)
        _check_text(value, f"tag {name}", VALUE_CHARACTERS_MAX)
    rows = store.rows(PROPERTIES)
    for device in devices:
        for name in unset:
            rows.remove(device, TAG, name)
        for name, value in given.items():
            rows.put(PropertyRow(device, TAG, name, value))
        if rows.count(device, TAG) > TAGS_MAX:
            raise ConfigError(f"{device} would have more than {TAGS_MAX} tags; take some away with --unset")


def set_note(store: Store, device: str, text: str) -> None:
    """Replace the note on a device; an empty text takes it away. In a transaction. Raises ConfigError."""
    _check_text(text, "a note", NOTE_CHARACTERS_MAX)
    if text:
        store.rows(PROPERTIES).put(PropertyRow(device, NOTE, "", text))
    else:
        store.rows(PROPERTIES).remove(device, NOTE)


def replace_attributes(store: Store, device: str, attributes: Mapping[str, str]) -> None:
    """Keep what a device says of itself now, and nothing that it said before."""
    rows = store.rows(PROPERTIES)
    if {row.name: row.value for row in rows.all(device, ATTRIBUTE)} == attributes:
        return
    rows.remove(device, ATTRIBUTE)
    for name, value in attributes.items():
        rows.put(PropertyRow(device, ATTRIBUTE, name, value))


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"tag {name!r} is not a valid name; use 1 to 64 letters, digits, '_' or '-', beginning with no sign"
        )


def _check_text(text: str, what: str, characters_max: int) -> None:
    if len(text) > characters_max:
        raise ConfigError(f"{what} has {len(text)} characters; at most {characters_max} are kept")
    if not is_printable(text):
        raise ConfigError(f"{what} holds characters that do not print; leave them out")
