"""What people, and the service, put on devices: tags, attributes, notes, and reports that are set aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from aggregator.store.rows import NOTE, PROPERTIES, QUARANTINED, TAG, PropertyRow

if TYPE_CHECKING:
    from aggregator.store import ReadableStore

# devices of a page up to which their tags are asked for; beyond, those of the fleet are read at once
ASKED_MAX = 1000


@dataclass(frozen=True, slots=True)
class Marks:
    """What people, and the service, put on a device. quarantined: as in `DeviceView`."""

    tags: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    note: str = ""
    quarantined: str = ""


def marks_of(store: ReadableStore, devices: Sequence[str] | None, texts: bool = True) -> dict[str, Marks]:
    """Of those that have any. devices: None for all. texts: with tags, attributes and notes. Within `reading`."""
    asked = None if devices is None or len(devices) > ASKED_MAX else [*devices]
    kept = store.rows(PROPERTIES)
    properties = (kept.all() if asked is None else kept.among(asked)) if texts else []
    aside: dict[str, list[str]] = {}
    for report in store.rows(QUARANTINED).all():
        aside.setdefault(report.device, []).append(report.problem)
    found = {
        device: _marks([*rows], aside.pop(device, [])) for device, rows in groupby(properties, attrgetter("device"))
    }
    found |= {device: _marks([], problems) for device, problems in aside.items()}
    return found if devices is None else {device: found[device] for device in devices if device in found}


def _marks(properties: Sequence[PropertyRow], problems: Sequence[str]) -> Marks:
    tags = {text.name: text.value for text in properties if text.family == TAG}
    attributes = {text.name: text.value for text in properties if text.family not in (TAG, NOTE)}
    note = "".join([text.value for text in properties if text.family == NOTE])
    return Marks(tags, attributes, note, "; ".join(dict.fromkeys(problems)))
