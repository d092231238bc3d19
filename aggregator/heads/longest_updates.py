"""The longest updates that wait, held in memory as far as there is room: a round most often shortens them.

A round that is no measure of more than these reads none of them from the database, and takes none out of the sum.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence

from aggregator.averaging_policy import AveragingPolicy
from headway.arrays import Float32

BYTES_MAX = 2_000_000
# a quarter of a round is longer than its upper quartile; of those that came so far it may be some more
SHARE, MORE = 4, 5
# from so many on, who is longer than the quartile so far is most often longer than that of the round, too
SURE_FROM = 100


class LongestUpdates:
    """Of one shape. policy: says which lengths a round shortens."""

    def __init__(self, shape: Sequence[int], policy: AveragingPolicy, bytes_max: int = BYTES_MAX) -> None:
        self._norm_factor, self._clip_norm = policy.norm_factor, policy.clip_norm
        self._places_max = bytes_max // (4 * math.prod(shape))
        self._held: dict[str, tuple[float, Float32]] = {}
        # the same by length
        self._order: list[tuple[float, str]] = []
        # of all that came
        self._norms: list[float] = []

    def put(self, device: str, norm: float, delta: Float32) -> list[tuple[str, Float32]]:
        """One more came; returns those that are let go and will hardly be shortened, each a device and its update.

        Others that are let go for want of room will be: the round reads them.
        """
        self.drop(device)
        insort(self._norms, norm)
        count, kept_norm = len(self._norms), self._kept_norm()
        self._held[device] = norm, delta
        insort(self._order, (norm, device))
        beyond = max(0, len(self._order) - min(self._places_max, MORE + count // SHARE))
        gone, self._order = self._order[:beyond], self._order[beyond:]
        each = [(length, name, self._held.pop(name)[1]) for length, name in gone]
        return [(name, one) for length, name, one in each if length <= kept_norm]

    def _kept_norm(self) -> float:
        """A length: the round will hardly shorten what is no longer, or no more than the sum does at once."""
        count = len(self._norms)
        if count < SURE_FROM:
            return math.inf
        limit = self._norm_factor * self._norms[count - 1 - count // SHARE]
        return limit if limit < self._clip_norm else math.inf

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
        self._norms.clear()
