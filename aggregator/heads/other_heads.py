"""How many heads of other feature spaces were published between two versions: they make no update of this one stale.

Versions are counted over all spaces together, and of each space only the newest heads are kept. What was published
after the oldest kept head of this space is one of its own, which are all known, or of another space, kept or not: so
a busy space beside it, whose heads are soon forgotten, makes nothing stale. Further back heads of this space may be
forgotten too; there only those count as another's that are still known to be.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.policy import Method
from aggregator.store import Store
from aggregator.store.rows import SPACES

# the version from which a lost store went on: nothing is known of those before it
VERSION_FLOOR = "version_floor"


@dataclass(frozen=True, slots=True)
class OtherHeads:
    """own: versions of this space's heads, ascending; known_from: all of its own that are newer are in `own`; older:
    versions of other spaces' heads up to there, ascending."""

    own: Sequence[int] = ()
    known_from: int | None = None
    older: Sequence[int] = ()

    @classmethod
    def stored(cls, store: Store, space: str, kept_max: int) -> OtherHeads:
        """By what the store has now. kept_max: how many heads are kept of each space."""
        others = [row.space for row in store.rows(SPACES).all() if row.space != space]
        if not others:
            return cls()
        own = _versions(store, [space])
        floor = store.number(VERSION_FLOOR)
        known_from = max(floor, own[0]) if len(own) >= kept_max else floor
        return cls(own, known_from, [version for version in _versions(store, others) if version <= known_from])

    def between(self, base: int, version: int) -> int:
        """How many were published after the head `base` and before the head `version`."""
        if self.known_from is None:
            return 0
        first = max(base, self.known_from)
        newer = max(0, version - 1 - first) - _within(self.own, first, version)
        return max(0, newer) + _within(self.older, base, min(version, self.known_from + 1))


def _versions(store: Store, spaces: Sequence[str]) -> list[int]:
    return sorted(head.version for space in spaces for method in Method for head in store.heads(space, method))


def _within(ascending: Sequence[int], above: int, below: int) -> int:
    """How many of them lie between the two."""
    return max(0, bisect_left(ascending, below) - bisect_right(ascending, above))
