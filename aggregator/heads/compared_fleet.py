"""The devices of a feature space as they are compared: what is known of each, and tables that were read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from aggregator.heads.steps import ADD_NUMBER_S, READ_NUMBER_S, READ_S
from headway.arrays import AnyArray, Float64, Int64
from headway.maths import Statistics

# devices with more of all samples are compared without their own part of the covariance
LARGE_SHARE = 0.02
# of tables that are held
BYTES_MAX = 32 << 20


class HeldTables:
    """Tables of some devices, by place, in as few bytes as hold them."""

    def __init__(self) -> None:
        # gram, class sums, classes and space
        self._held: dict[int, tuple[AnyArray, Int64, tuple[str, ...], str]] = {}
        self._bytes = 0

    def get(self, place: int) -> Statistics | None:
        """None for what is not held."""
        if place not in self._held:
            return None
        gram, class_sums, classes, space = self._held[place]
        return Statistics(gram.astype(np.int64), class_sums, classes, space)

    def put(self, place: int, tables: Statistics, devices: int, often: bool) -> None:
        """Tables were read; they are held where there is room for those of all `devices`, or are asked for `often`."""
        # no value lies further from zero than the largest of the diagonal, but for what rounding hides from the proof
        # (`headway.maths.scatter`): far less than that once more
        narrow = int(np.diagonal(tables.gram).max()) < 1 << 30
        size = tables.gram.size * (4 if narrow else 8) + tables.class_sums.nbytes
        if (often or size * devices <= BYTES_MAX) and self._bytes + size <= BYTES_MAX:
            gram: AnyArray = tables.gram.astype(np.int32) if narrow else tables.gram
            self._held[place] = gram, tables.class_sums, tables.classes, tables.space
            self._bytes += size

    def drop(self, place: int, devices: int) -> None:
        """They are not asked for often any more, so they go, unless there is room for those of all devices."""
        if place in self._held and self._size(place) * devices > BYTES_MAX:
            self._bytes -= self._size(place)
            del self._held[place]

    def _size(self, place: int) -> int:
        gram, class_sums, *_ = self._held[place]
        return gram.nbytes + class_sums.nbytes


@dataclass(frozen=True, slots=True)
class ComparedFleet:
    """The devices compared, n of them. counts: (n, C); means: (n, d, C); spread: (n,); weights: (n,), what a sample of
    each counts, 0 for one that does not count; counted: the sum of those that do; tables: gives a device's own; held:
    tables that were read."""

    names: Sequence[str]
    counts: Float64
    means: Float64
    spread: Float64
    weights: Float64
    counted: Statistics
    tables: Callable[[str], Statistics]
    held: HeldTables = field(default_factory=HeldTables)

    @property
    def heavy(self) -> Float64:
        """Samples as they count, (n, C)."""
        return np.asarray(self.weights[:, None] * self.counts, np.float64)

    def read(self, place: int, often: bool = False) -> tuple[Statistics, float]:
        """A device's tables, and what that took, as reckoned. often: they will be asked for again and again."""
        found = self.held.get(place)
        if found is not None:
            return found, ADD_NUMBER_S * found.gram.size
        found = self.tables(self.names[place])
        self.held.put(place, found, len(self.names), often)
        return found, READ_S + READ_NUMBER_S * found.gram.size
