"""Declares quarantined reports: stored, and without a part in the head."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A stored report that does not count in the head. problem: with it there is none; since_s: wall clock."""

    device: str
    epoch: int
    problem: str
    since_s: float


QUARANTINED = Collection("quarantined", QuarantineRow, ("device", "epoch"))
