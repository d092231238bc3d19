"""The longest updates that wait, held in memory as far as there is room: a round most often shortens them.

A round that is no measure of more than these reads none of them from the database, and takes none out of the sum.
"""

from __future__ import annotations

import math
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

    def put(self, device: str, norm: float, delta: Float32, count: int) -> list[tuple[str, Float32]]:
        """One more of now `count` that wait; returns those that are let go, each a device and its update."""
        self._held[device] = norm, delta
        places, gone = min(self._places_max, MORE + count // SHARE), []
        while len(self._held) > places:
            shortest = min(self._held, key=self._norm)
            gone.append((shortest, self._held.pop(shortest)[1]))
        return gone

    def get(self, device: str) -> Float32 | None:
        """Its update; None where it is not held."""
        found = self._held.get(device)
        return None if found is None else found[1]

    def drop(self, device: str) -> None:
        """Its update does not wait any more, or is another."""
        self._held.pop(device, None)

    def clear(self) -> None:
        """None waits."""
        self._held.clear()

    def _norm(self, device: str) -> float:
        return self._held[device][0]
