"""Declares quarantined reports: stored, and without a part in the head."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection

# in the place of an epoch: an operator set the whole device aside, whatever it reports
EVERY_EPOCH = -1
# with which the problem of such a row begins
BY_HAND = "set aside by hand"
# and one of a device whose statistics contradict those of all others
SUSPICIOUS = "it contradicts the others"


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A stored report that does not count in the head. problem: with it there is none; since_s: wall clock.

    epoch: `EVERY_EPOCH` for a device that is set aside whatever it reports; each of its reports has a row of its own
    beside it.
    """

    device: str
    epoch: int
    problem: str
    since_s: float


@dataclass(frozen=True, slots=True)
class VouchedRow:
    """A device that an operator readmitted although it contradicts the others: it is not set aside for that again."""

    device: str
    since_s: float


VOUCHED = Collection("vouched", VouchedRow, ("device",))
QUARANTINED = Collection("quarantined", QuarantineRow, ("device", "epoch"))
