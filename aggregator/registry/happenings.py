"""Counts what happens in the fleet, under few names that no device chooses: refusals, drift alarms, gate decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aggregator.store import Store
from aggregator.store.rows import TALLIES, TallyRow

if TYPE_CHECKING:
    # loads NumPy, which a command that lists devices does not wait for
    from headway.wire import Event

REFUSED, DRIFT, GATE = "refused", "drift", "gate"
OTHER = "other"
# why messages are refused: docs/protocol.md, 7
REASONS = (
    "malformed", "address", "unsupported", "forged", "space", "shape", "conflict", "base", "gap", "future", "loop",
    "unused", "delivery", "removed", "rate", "limit",
)  # fmt: skip
# of an event its tally, the part of its detail that is the label, and the labels that there are
COUNTED: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "drift": (DRIFT, "by", ("error", "distance", "clipped")),
    "head-changed": (GATE, "after", ("frozen", "exact", "gradient", "fleet")),
}


def bounded(label: object, known: tuple[str, ...]) -> str:
    """A label of the known ones; `OTHER` for what a device may have invented."""
    return label if isinstance(label, str) and label in known else OTHER


class Happenings:
    """Every method must run inside a transaction of the store. What is counted is written with `write`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counts: Counter[tuple[str, str]] = Counter()

    def refused(self, reason: str) -> None:
        """reason: one of `REASONS`."""
        self._counts[REFUSED, bounded(reason, REASONS)] += 1

    def event(self, event: Event) -> None:
        """An event of a device that was kept."""
        if event.name in COUNTED:
            tally, part, known = COUNTED[event.name]
            self._counts[tally, bounded(event.detail.get(part), known)] += 1

    def write(self) -> None:
        rows = self._store.rows(TALLIES)
        for (what, label), count in self._counts.items():
            row = rows.get(what, label)
            rows.put(TallyRow(what, label, count + (row.count if row else 0)))
        self._counts.clear()
