"""Declares quarantined reports: stored, and without a part in the head."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection

# in the place of an epoch: an operator set the whole device aside, whatever it reports
EVERY_EPOCH = -1
# with which the problem of such a row begins
BY_HAND = "set aside by hand"


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A stored report that does not count in the head. problem: with it there is none; since_s: wall clock.

    epoch: `EVERY_EPOCH` for a device that an operator set aside; each of its reports has a row of its own beside it.
    """

    device: str
    epoch: int
    problem: str
    since_s: float


QUARANTINED = Collection("quarantined", QuarantineRow, ("device", "epoch"))
