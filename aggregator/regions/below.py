"""Which regions are in this region's sum. A report in which it is itself is refused: who is in a loop of parents would
add up its labels again with each report.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from aggregator.effects import Refused
from aggregator.regions.numbers import EPOCH
from aggregator.store import Store
from aggregator.store.rows import REGIONS_BELOW, RegionBelowRow
from headway.errors import RemoteError
from headway.wire import regions_in


class RegionsBelow:
    """Of a server that is a region. Every method must run inside a transaction of the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def take(self, device: str, payload: bytes) -> None:
        """A whole report is about to be stored. Raises Refused where this region is in it, RemoteError."""
        told = regions_in(payload)
        if self._store.number(EPOCH) in told:
            problem = f"the sum of {device} has this region's own in it: the servers' [region] and [parent] make a loop"
            raise Refused("loop", problem)
        rows = self._store.rows(REGIONS_BELOW)
        row, known = _row(device, told), rows.get(device)
        if known != row and (told or known is not None):
            rows.put(row)

    def look_back(self) -> None:
        """What was stored before this server was a region."""
        rows = self._store.rows(REGIONS_BELOW)
        for space in self._store.spaces():
            found: list[RegionBelowRow] = []
            for stored in self._store.every_statistics(space):
                with suppress(RemoteError):  # what is damaged is not in the sum
                    if told := regions_in(stored.payload):
                        found.append(_row(stored.device, told))
            for row in found:
                rows.put(row)

    def all(self) -> list[int]:
        """This one first."""
        below = {int(region) for row in self._store.rows(REGIONS_BELOW).all() for region in row.regions.split()}
        return [self._store.number(EPOCH), *sorted(below)]


def _row(device: str, regions: Sequence[int]) -> RegionBelowRow:
    return RegionBelowRow(device, " ".join(map(str, regions)))
