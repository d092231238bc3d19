"""Declares the sums that are kept, so that starting need not read what every device reported."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class SumRow:
    """One sum in one feature space; name: which; payload: see `aggregator.heads.sum_bytes`."""

    space: str
    name: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class RipeRow:
    """A stored report with enough new labels to be told to other devices (`aggregator.heads.told_sum`)."""

    device: str
    epoch: int


SUMS = Collection("sums", SumRow, ("space", "name"))
RIPE = Collection("ripe", RipeRow, ("device", "epoch"))
