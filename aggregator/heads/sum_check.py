"""Adds up every stored report anew and compares with the sums that are kept (`aggregator.heads.kept_sums`).

Needs the store alone: a kept sum names its classes, what is aside and the weights of devices over a bound.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aggregator.heads.fleet_sum import Sums
from aggregator.heads.handed_over import HandedOver, whole_before
from aggregator.heads.kept_sums import COUNTED, NEXT, REPORTS, TOLD, mark_of
from aggregator.heads.stored_reports import stored_tables
from aggregator.heads.sum_bytes import KeptSum, decode
from aggregator.heads.weighing import times
from aggregator.partial_sum import PartialSum
from aggregator.store import Store, StoredStatistics
from aggregator.store.rows import RIPE, SUMS
from headway.errors import StoreError
from headway.maths import Statistics
from headway.wire import StatisticsReport


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found. reports: that were read; sums: that were compared; problems: in words, none where all agree."""

    reports: int
    sums: int
    problems: tuple[str, ...]


class _Recount:
    """The sums of what is added, of devices with the weights that the kept sum has for them."""

    def __init__(self, kept: KeptSum) -> None:
        total = kept.sums.total
        self._kept, self._nothing = kept, Statistics.zeros(total.size, total.classes, total.space)
        self._total = self._within = self._nothing
        self._over: dict[str, Statistics] = {}

    def add(self, device: str, tables: Statistics) -> None:
        self._total += tables
        if device in self._kept.sums.over:
            self._over[device] = self._over.get(device, self._nothing) + tables
        else:
            self._within += tables

    def problem(self, name: str) -> str | None:
        """How the kept sum differs from what was added; None when it does not."""
        kept: Sums = self._kept.sums
        if self._over.keys() != kept.over.keys():
            return f"the kept sum of what is {name} has devices over the bound of which nothing is stored"
        units = self._nothing
        for device, tables in self._over.items():
            units += times(tables, kept.over[device])
        pairs = ((self._total, kept.total), (self._within, kept.within), (units, kept.units))
        if all(counted.same_sums(its) for counted, its in pairs):
            return None
        return (
            f"the kept sum of what is {name} holds {kept.total.samples} samples and is not that of the stored reports, "
            f"which hold {self._total.samples}"
        )


def check_sums(store: Store) -> Checked:
    """Compare every kept sum of the store. Must run inside a transaction, or while reading."""
    spaces = sorted({row.space for row in store.rows(SUMS).all()})
    checks = [_check_space(store, space) for space in spaces]
    problems = tuple(problem for check in checks for problem in check.problems)
    return Checked(sum(check.reports for check in checks), sum(check.sums for check in checks), problems)


def _check_space(store: Store, space: str) -> Checked:
    kept: dict[str, KeptSum] = {}
    problems: list[str] = []
    rows = store.rows(SUMS).all(space)
    for row in rows:
        try:
            kept[row.name] = decode(row.payload, space)[0]
        except StoreError as error:
            problems.append(f"what is {row.name}: {error}")
    # what workers stored and the publisher has not taken over yet
    pending = HandedOver.waiting(space, store)
    if pending.part is not None and COUNTED in kept:
        kept[COUNTED] = _with(kept[COUNTED], pending.part)
    apart = {(row.device, row.epoch): row for row in pending.changes if row.whole}
    recounts = {name: _Recount(one) for name, one in kept.items()}
    told = {(row.device, row.epoch): row.counter for row in store.told() if row.counter >= 0}
    ripe = {(row.device, row.epoch) for row in store.rows(RIPE).all()}
    reports = 0
    for newest in store.every_statistics(space):
        change = apart.get((newest.device, newest.epoch))
        stored = newest if change is None else whole_before(store, change)
        if stored is None:
            continue
        reports += 1
        part, now = (stored.device, stored.epoch), stored_tables(stored)
        if now is not None and now.samples != stored.samples:
            problems.append(
                f"{stored.device}, epoch {stored.epoch}: {stored.samples} samples noted, the report holds {now.samples}"
            )
        in_told = _told(store, stored, now, told.get(part))
        parts = {COUNTED: now, TOLD: in_told, NEXT: now if part in ripe else in_told}
        for name, tables in parts.items():
            if tables is not None and name in kept and not (name == COUNTED and part in kept[name].aside):
                recounts[name].add(stored.device, tables)
    problems += [problem for name, recount in recounts.items() if (problem := recount.problem(name)) is not None]
    if COUNTED in kept and kept[COUNTED].marks[REPORTS] != mark_of(pending.before(store.contributions(space))):
        problems.append("the kept sum is of other reports than those that are stored")
    return Checked(reports, len(rows), tuple(problems))


def _with(kept: KeptSum, part: PartialSum) -> KeptSum:
    """The kept sum and what workers have added up since. Nothing of it is of devices over a bound."""
    sums = kept.sums
    summed = replace(sums, total=sums.total + part.tables, within=sums.within + part.tables)
    return replace(kept, sums=summed)


def _told(store: Store, row: StoredStatistics, now: Statistics | None, counter: int | None) -> Statistics | None:
    """What of a report devices are told: the report with this counter."""
    if counter is None or counter == row.counter:
        return None if counter is None else now
    return StatisticsReport.decode_stored(store.told_payload(row.device, row.epoch)).statistics
