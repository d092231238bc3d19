"""Follows who counts: which devices the server set aside, and why it may; who lies is known to nobody here.

A device is set aside because it contradicts all others, by all that the fleet held at one moment since the server began
to compare, or because an operator says so; it counts again because by such a moment it no longer contradicts them,
because an operator readmits it, or because it was removed. For anything else there is no reason. Nothing of a device
that is set aside counts, and all of every other; an operator's act is followed, and at rest whoever contradicts the
others is set aside.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from aggregator.store.rows import EVERY_EPOCH, QUARANTINED, SUSPICIOUS
from headway_simulation.history import Violation
from headway_simulation.server_disk import ServerStore

# so soon a running server follows an operator's act: it wakes once a minute, and looks every ten seconds
FOLLOWS_S = 120.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of all devices by what the fleet holds. named: contradict the others; back: no longer do."""

    named: Collection[str] = frozenset()
    back: Collection[str] = frozenset()


@dataclass(slots=True)
class Trust:
    """aside: the problem of each device that is set aside, by its name, as the server's disk has it; vouched: whom an
    operator readmitted although it contradicts the others; counted_without: who was set aside before the last
    transaction; came: how many devices were found to contradict the others."""

    aside: dict[str, str] = field(default_factory=dict)
    vouched: set[str] = field(default_factory=set)
    counted_without: frozenset[str] = frozenset()
    came: int = 0
    # of whom an operator has said something that the sum may not show yet, and until when
    _open: dict[str, float] = field(default_factory=dict)
    _said: str = ""
    _said_s: float = 0.0

    def copy(self) -> Trust:
        """For a copy of the server's disk."""
        return Trust(dict(self.aside), set(self.vouched))

    def set_back(self, copy: Trust | None) -> None:
        """The server's disk is an older copy, or empty."""
        self.aside, self.vouched = ({}, set()) if copy is None else (dict(copy.aside), set(copy.vouched))
        self._open.clear()

    def says(self, device: str, now_s: float) -> None:
        """An operator's act about this device is about to be committed, unless it is refused. Ends with `said`."""
        self._said, self._said_s = device, now_s

    def did(self, aside: bool) -> None:
        """The act was not refused. aside: whether it sets the device aside. Raises Violation."""
        if (self._said in self.aside) != aside:
            raise Violation(f"an operator {'set aside' if aside else 'readmitted'} {self._said}, and it is not so")

    def said(self) -> None:
        """The act is over."""
        self._said = ""

    def started(self) -> None:
        """The server has begun, with what its disk says."""
        self._open.clear()

    def committed(self, store: ServerStore, removed: Collection[str], judge: Callable[[], Iterator[Judgement]]) -> None:
        """The server has ended a transaction. judge: by what the fleet holds now, then by what it held at moments at
        which the server may have begun to compare. Raises Violation."""
        rows = store.rows(QUARANTINED).all()
        aside = {row.device: row.problem for row in rows if row.epoch == EVERY_EPOCH}
        for row in rows:
            if row.device not in aside:
                raise Violation(f"a report of {row.device} is set aside, and the device is not: {row.problem}")
        for device in removed:
            self.aside.pop(device, None)
            self.vouched.discard(device)
        before, self.aside = self.aside, aside
        self.counted_without = frozenset(before)
        changed = [device for device in sorted({*before, *aside}) if before.get(device) != aside.get(device)]
        if self._said in changed:
            changed.remove(self._said)
            self._open[self._said] = self._said_s + FOLLOWS_S
            if self._said in before and self._said not in aside and before[self._said].startswith(SUSPICIOUS):
                self.vouched.add(self._said)
            if self._said in aside:
                self.vouched.discard(self._said)
        for device in changed:
            self._check(device, before.get(device), aside.get(device), judge)

    def choices(self, now_s: float) -> Iterator[frozenset[str]]:
        """Who may be set aside in the server's sum: the first is what its disk says, others are of the moments in which
        it has not followed an operator yet."""
        waiting = sorted(device for device, until_s in self._open.items() if now_s <= until_s)
        for count in range(len(waiting) + 1):
            for other in itertools.combinations(waiting, count):
                yield frozenset(self.aside.keys() ^ set(other))

    def settled(self, chosen: frozenset[str], told: Callable[[str], bool]) -> None:
        """The server's sum is that without these. told: whether something of a device is in the store, so that one sum
        differs from the other."""
        for device in [device for device in self._open if told(device)]:
            if (device in chosen) == (device in self.aside):
                del self._open[device]

    def _check(
        self, device: str, before: str | None, after: str | None, judge: Callable[[], Iterator[Judgement]]
    ) -> None:
        if before is not None and after is not None:
            raise Violation(f"{device} was set aside as {before!r}, and now as {after!r}")
        if after is not None:
            if device in self.vouched:
                raise Violation(f"{device} is set aside, though an operator vouched for it: {after}")
            if not after.startswith(SUSPICIOUS) or not any(device in found.named for found in judge()):
                raise Violation(f"{device} is set aside, and does not contradict the others: {after}")
            self.came += 1
        else:
            if not (before or "").startswith(SUSPICIOUS) or not any(device in found.back for found in judge()):
                raise Violation(f"{device} counts again, though it was set aside as {before!r}")
