"""A fleet at a glance: five numbers, the devices that need somebody most, and what was heard last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.registry.backfilling import backfill
from aggregator.store import GOOD, ONLINE, UNKNOWN, EventRow, RegistryQuery, RegistryRow, Store
from aggregator.store.rows import QUARANTINED

# labels from which on a device may count as worse than its frozen head
LABELS_MIN = 20
WORST_MAX = 100


@dataclass(frozen=True, slots=True)
class Overview:
    """devices, online, below (less often right than the frozen head), troubled (a problem, or set aside): counts.

    labels: learned in the fleet. served, frozen: accuracy over all labels of classes that were scored; None without
    any. worst: devices that are troubled or below, those that are furthest below first. events: newest first.
    """

    devices: int
    online: int
    labels: int
    served: float | None
    frozen: float | None
    below: int
    troubled: int
    worst: tuple[RegistryRow, ...]
    events: tuple[EventRow, ...]


def overview(store: Store, now_s: float, events_max: int = 50) -> Overview:
    """In a transaction. now_s: wall clock."""
    backfill(store)
    rows = store.registry.find(RegistryQuery(), now_s)
    aside = {row.device for row in store.rows(QUARANTINED).all()}
    below = {row.device for row in rows if row.scored >= LABELS_MIN and (row.accuracy_gain or 0.0) < 0}
    troubled = {row.device for row in rows if row.health not in (GOOD, UNKNOWN)} | aside
    scored = [row for row in rows if row.served_accuracy is not None]
    worst = sorted(
        (row for row in rows if row.device in troubled | below),
        key=lambda row: (row.accuracy_gain if row.device in below else 0.0, row.device),
    )
    return Overview(
        len(rows),
        sum(row.link == ONLINE for row in rows),
        sum(row.labels for row in rows),
        _share(sum(row.served_right for row in scored), scored),
        _share(sum(row.frozen_right for row in scored), scored),
        len(below),
        len(troubled),
        tuple(worst[:WORST_MAX]),
        tuple(store.events(events_max)),
    )


def _share(right: int, rows: Sequence[RegistryRow]) -> float | None:
    scored = sum(row.scored for row in rows)
    return right / scored if scored else None
