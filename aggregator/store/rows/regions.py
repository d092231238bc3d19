"""Declares what a region keeps of the regions below it."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class RegionBelowRow:
    """A device that is a region. regions: whose sums are in what it reports, by their epochs, between blanks."""

    device: str
    regions: str


REGIONS_BELOW = Collection("regions_below", RegionBelowRow, ("device",))
