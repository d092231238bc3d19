"""Remembers in the store, for each feature space, with what caution its sum may be told to devices.

Withheld: nothing is told before enough is new. Wary: what is seen first may have been told by a store that was lost.
Numbers without a space are of releases that served one space at a time, and hold for every space that has none.
"""

from __future__ import annotations

from aggregator.heads.contributions import parts_in
from aggregator.store import Store, ToldStatistics
from aggregator.store.rows import RIPE
from headway.wire import space_name

WITHHELD, WARY = "prior_withheld", "prior_wary"
# 1 once a backup was put in the store's place, until the service has started with it
SET_BACK = "store_set_back"
YES, NO = 1, 2

# counters of what is not in the told sum: nothing is; and nothing is, and what was told may be newer than the store
NONE, UNSEEN = -1, -2


class Cautions:
    """Of one feature space. Every method must run inside a transaction of the store."""

    def __init__(self, store: Store, space: str) -> None:
        self._store, self._name = store, space_name(space)
        self._numbers = {name: name + self._name for name in (WITHHELD, WARY)}

    @property
    def withheld(self) -> bool:
        """Whether nothing may be told."""
        return self._holds(WITHHELD)

    @property
    def wary(self) -> bool:
        """Whether what is seen first may have been told before."""
        return self._holds(WARY)

    def withhold(self) -> None:
        """Tell nothing until enough is new."""
        self._store.put_number(WITHHELD + self._name, YES)

    def be_wary(self) -> None:
        """The store knows less than was told."""
        self.withhold()
        self._store.put_number(WARY + self._name, YES)

    def end(self) -> None:
        """Enough is new."""
        for name in (WITHHELD, WARY):
            if self._holds(name):
                self._store.put_number(name + self._name, NO)

    def _holds(self, name: str) -> bool:
        return (self._store.number(self._numbers[name]) or self._store.number(name)) == YES


def ripe_in(store: Store, space: str) -> set[tuple[str, int]]:
    """Reports of one feature space with enough new labels to be told, by device and epoch."""
    ripe = {(row.device, row.epoch) for row in store.rows(RIPE).all()}
    return ripe & parts_in(store, space) if ripe else ripe


def set_back_unopened(store: Store, unopened: list[str]) -> None:
    """The store knows less than was told: so do spaces that have no sum in memory, these and those to come."""
    for name in (WITHHELD, WARY):
        store.put_number(name, YES)
    for space in unopened:
        Cautions(store, space).be_wary()
        rows = store.contributions(space)
        store.put_told([ToldStatistics(row.device, row.epoch, UNSEEN, max(row.samples, 0)) for row in rows])
