"""Declares what ingest workers hand to the publisher: partial sums, and which reports changed since it took them."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection

# a number in the store, written by the publisher: what workers are to hand over, see `Handover`
HANDOVER = "workers_handover"


class Handover:
    """Values of the number `HANDOVER`."""

    # no publisher takes anything over: workers must not store reports
    NONE = 0
    # earlier reports too, for the sums that devices are told change report by report
    REPORTS = 1
    # sums; earlier reports only of devices that stand apart
    SUMS = 2


@dataclass(frozen=True, slots=True)
class WorkerSumRow:
    """What one worker added up in one feature space since the publisher took it over (`aggregator.partial_sum`)."""

    space: str
    worker: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class WorkerChangeRow:
    """A report that workers stored since the publisher took over what they did.

    old_counter, old_samples, old_counts: of the report that the publisher knows, -1, -1 and '' without one; the others:
    of the one that is stored now. whole: it is in no partial sum; then old_payload is the report that the publisher
    knows, empty for none.
    """

    space: str
    device: str
    epoch: int
    whole: bool
    counter: int
    samples: int
    counts: str
    old_counter: int
    old_samples: int
    old_counts: str
    old_payload: bytes


@dataclass(frozen=True, slots=True)
class ApartRow:
    """A device whose reports the publisher needs one by one: it weighs less than it claims, or is set aside."""

    space: str
    device: str


# in the place of a counter: the publisher knows no report
NO_REPORT = -1

WORKER_SUMS = Collection("worker_sums", WorkerSumRow, ("space", "worker"))
WORKER_CHANGES = Collection("worker_changes", WorkerChangeRow, ("space", "device", "epoch"))
APART = Collection("apart", ApartRow, ("space", "device"))
