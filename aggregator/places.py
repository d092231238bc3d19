"""Decides which new device ids get a place in the fleet, and whose place they get when there is none left.

Anybody who may publish can invent ids. Two bounds keep room for devices that are real: within an hour new ids take at
most half of the places that were free at its beginning; and only who contributes, by statistics or updates, keeps a
place for good. A **stranger** never did. It gives its place to a device that wants to contribute, whenever places or
the hour's share are used up, and to another stranger when it was not seen for `stranger_days`. The longest unseen goes
first.
"""

from __future__ import annotations

from collections.abc import Callable

from aggregator.effects import Instant, Refused
from aggregator.policy import Limits
from aggregator.store import Store

HOUR_S = 3600.0
DAY_S = 86_400.0
LOOK_AGAIN_S = 60.0
# in a fleet that is nearly full half of the free places are too few to get anywhere
NEW_IN_AN_HOUR_MIN = 64


class Places:
    """Every method must run inside a transaction of the store."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store, self._limits = store, limits
        self._hour_began_s: float | None = None
        self._left_this_hour = 0
        self._look_again_at_s = float("-inf")
        self._forgotten: list[str] = []
        # devices in the store and those that were given a place since, as of the batch of this moment
        self._count = 0
        self._counted_at: Instant | None = None

    def take(self, contributes: bool, now: Instant, write_pending: Callable[[Instant], None]) -> None:
        """Find a place for a new id; every known one is in the store. Raises Refused.

        contributes: it came with statistics or updates that can be read. write_pending: brings the store up to date;
        called only before somebody is looked for who gives way.
        """
        if self._counted_at is not now:
            self._count, self._counted_at = self._store.device_count(), now
        free = self._limits.devices_max - self._count
        if self._hour_began_s is None or now.monotonic_s - self._hour_began_s >= HOUR_S:
            self._hour_began_s, self._left_this_hour = now.monotonic_s, max(NEW_IN_AN_HOUR_MIN, free // 2)
        if free > 0 and self._left_this_hour > 0:
            self._left_this_hour -= 1
            self._count += 1
            return
        write_pending(now)
        stranger = self._gives_way(contributes, now)
        if stranger is not None:
            self._store.remove_device(stranger)
            self._forgotten.append(stranger)
        elif free <= 0:
            raise Refused("limit", f"the fleet has {self._limits.devices_max} devices already; raise devices_max")
        else:
            raise Refused("limit", f"too many new devices this hour; {free} places are kept for the next ones")

    def count_again(self) -> None:
        """Devices may have gone since."""
        self._counted_at = None

    def _gives_way(self, contributes: bool, now: Instant) -> str | None:
        """The stranger whose place the new id gets, if there is one."""
        if contributes:
            return self._store.oldest_stranger(now.wall_s)
        if now.monotonic_s < self._look_again_at_s:
            return None
        stranger = self._store.oldest_stranger(now.wall_s - self._limits.stranger_days * DAY_S)
        if stranger is None:
            # a flood is not to search the whole fleet with each of its messages
            self._look_again_at_s = now.monotonic_s + LOOK_AGAIN_S
        return stranger

    def take_forgotten(self) -> list[str]:
        """Ids that gave their place since the last call: what the broker retains of them must go, too."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten
