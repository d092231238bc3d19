"""Declares what is counted since the store was made, for monitoring."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class TallyRow:
    """How often something has happened. what, label: of few values that the service itself names."""

    what: str
    label: str
    count: int


TALLIES = Collection("tallies", TallyRow, ("what", "label"))
