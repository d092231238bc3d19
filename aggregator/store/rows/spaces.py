"""Declares the feature spaces that the aggregator has served."""

from __future__ import annotations

from dataclasses import dataclass

from aggregator.store.collection import Collection


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """One feature space, by its fingerprint. bundle: name and version of the one it was opened with last. used_s: when
    a device or an order last needed it, 0 before the first look; archived_s: since when it has no sum, 0 while it has.
    """

    space: str
    bundle: str
    used_s: float = 0.0
    archived_s: float = 0.0


SPACES = Collection("spaces", SpaceRow, ("space",))
