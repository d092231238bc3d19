"""Declares what forgetting needs: marks of each device, what is asked, what was done, who was told a prior."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class MarkRow:
    """What was stored of an epoch when its first report of a day came. day: days since 1970, UTC; at_s: wall clock.

    payload: that report, empty where the epoch began then.
    """

    device: str
    epoch: int
    day: int
    at_s: float
    counter: int
    space: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ForgetRequestRow:
    """Somebody asked for a device to be set back to its newest mark before `since_s` (wall clock); 0: `who` asked for
    all of it to be taken out."""

    device: str
    since_s: float
    who: str
    requested_s: float


@dataclass(frozen=True, slots=True)
class RemovalRow:
    """A removal that was done. number: from 1; record: canonical JSON (`aggregator.removals.RemovalRecord`); signature:
    hexadecimal, empty where the server has no key."""

    number: int
    record: str
    signature: str


@dataclass(frozen=True, slots=True)
class ToldPriorRow:
    """A device was told what the others had learned. told_at_s: when last, wall clock."""

    device: str
    space: str
    told_at_s: float


STATISTICS_MARKS = Collection("statistics_marks", MarkRow, ("device", "epoch", "day"))
FORGET_REQUESTS = Collection("forget_requests", ForgetRequestRow, ("device",))
REMOVALS = Collection("removals", RemovalRow, ("number",))
TOLD_PRIORS = Collection("told_priors", ToldPriorRow, ("device", "space"))
