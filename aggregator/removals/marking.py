"""Keeps, once a day, what is stored of each device's epochs, so that what came later can be taken out again exactly.

A mark is the report that was stored when the first one of a day came: it holds nothing that was reported later. Reports
are cumulative, so the difference to the newest one is all that came since, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aggregator.store import Store, StoredStatistics
from aggregator.store.rows import STATISTICS_MARKS, MarkRow

DAY_S = 86_400


class Marks:
    """Every method must run inside a transaction of the store. marks_max: of one epoch; 0 takes none."""

    def __init__(self, store: Store, marks_max: int) -> None:
        self._store, self._marks_max = store, marks_max
        # day of the newest mark, of those that this process took
        self._days: dict[tuple[str, int], int] = {}
        # of the batch at hand, of devices that none was taken of today: days of the marks that are stored, by epoch
        self._stored: dict[str, dict[int, list[int]]] = {}
        self._taken: tuple[int, set[str]] = 0, set()

    def begin(self, devices: Iterable[str], wall_s: float) -> None:
        """A batch of reports of these devices is about to come."""
        day = int(wall_s // DAY_S)
        if self._taken[0] != day:
            self._taken = day, set()
        self._stored = self._stored_of(sorted({*devices} - self._taken[1])) if self._marks_max else {}

    def take(self, device: str, epoch: int, space: str, known: StoredStatistics | None, wall_s: float) -> None:
        """A report is about to take the place of `known`, None for none."""
        day = int(wall_s // DAY_S)
        if not self._marks_max or self._days.get((device, epoch)) == day:
            return
        self._days[device, epoch] = day
        self._taken[1].add(device)
        stored = self._stored if device in self._stored else self._stored_of([device])
        days = stored[device].get(epoch, [])
        if day in days:
            return
        rows = self._store.rows(STATISTICS_MARKS)
        counter, payload = (0, b"") if known is None else (known.counter, known.payload)
        rows.put(MarkRow(device, epoch, day, wall_s, counter, space, payload))
        days = sorted([*days, day])
        for old in days[: max(0, len(days) - self._marks_max)]:
            rows.remove(device, epoch, old)

    def left(self, device: str) -> None:
        """The device was set back, or removed."""
        self._days = {key: day for key, day in self._days.items() if key[0] != device}
        self._taken[1].discard(device)
        self._stored.pop(device, None)

    def _stored_of(self, devices: Sequence[str]) -> dict[str, dict[int, list[int]]]:
        """Days of the marks of these devices, by device and epoch."""
        found: dict[str, dict[int, list[int]]] = {device: {} for device in devices}
        keys = self._store.rows(STATISTICS_MARKS).keys(devices) if devices else []
        for device, epoch, day in keys:
            found[str(device)].setdefault(int(epoch), []).append(int(day))
        return found


def kept_before(store: Store, known: StoredStatistics, since_s: float) -> MarkRow | None:
    """The newest mark of an epoch that was taken at `since_s` or before; None where nothing of it is kept.

    That is so for one that began later, and for one whose marks are all newer: then all of it goes.
    """
    marks = [row for row in store.rows(STATISTICS_MARKS).all(known.device, known.epoch) if row.at_s <= since_s]
    return marks[-1] if marks else None


def forget_marks(store: Store, device: str, since_s: float, epoch: int | None = None) -> None:
    """Marks that hold what is taken out: those after `since_s`, of one epoch or all; all of them where it is 0."""
    rows = store.rows(STATISTICS_MARKS)
    for mark in rows.all(device) if epoch is None else rows.all(device, epoch):
        if mark.at_s > since_s:
            rows.remove(device, mark.epoch, mark.day)
