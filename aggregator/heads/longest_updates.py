"""The longest updates that wait, held in memory as far as there is room: a round most often shortens them.

A round that is no measure of more than these reads none of them from the database, and takes none out of the sum.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence

from headway.arrays import Float32

BYTES_MAX = 2_000_000
# a quarter of a round is longer than its upper quartile; of those that came so far it may be some more
SHARE, MORE = 4, 5


class LongestUpdates:
    """Of one shape. What has no place any more is handed out, so that nothing is lost."""

    def __init__(self, shape: Sequence[int], bytes_max: int = BYTES_MAX) -> None:
        self._places_max = bytes_max // (4 * math.prod(shape))
        self._held: dict[str, tuple[float, Float32]] = {}
        # the same by length
        self._order: list[tuple[float, str]] = []

    def put(self, device: str, norm: float, delta: Float32, count: int) -> list[tuple[str, Float32]]:
        """One more of now `count` that wait; returns those that are let go, each a device and its update."""
        self.drop(device)
        self._held[device] = norm, delta
        insort(self._order, (norm, device))
        beyond = max(0, len(self._order) - min(self._places_max, MORE + count // SHARE))
        gone, self._order = self._order[:beyond], self._order[beyond:]
        return [(shortest, self._held.pop(shortest)[1]) for _, shortest in gone]

    def get(self, device: str) -> Float32 | None:
        """Its update; None where it is not held."""
        found = self._held.get(device)
        return None if found is None else found[1]

    def drop(self, device: str) -> None:
        """Its update does not wait any more, or is another."""
        found = self._held.pop(device, None)
        if found is not None:
            self._order.remove((found[0], device))

    def clear(self) -> None:
        """None waits."""
        self._held.clear()
        self._order.clear()
