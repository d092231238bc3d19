"""Takes over what ingest workers stored: their partial sums, and which reports changed since the last time.

A worker stores a report, and in the same transaction adds its change to a partial sum and notes which report the
publisher knew (`aggregator.workers`). Nobody else writes while the publisher is in a transaction, and each of its
transactions begins by taking over all of it; so in between the store and the sums agree, as if it had stored the
reports itself.

    most reports      -> the partial sums, and of each its samples by class
    what stands apart -> one by one, with the tables before and after: devices that weigh less than they claim or are
                         set aside; and all of them where devices are told the sum of others

Until then the sums are those of the reports as they were: `Pending.before` is what a kept sum is compared with at a
start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aggregator.heads.class_list import ClassList
from aggregator.heads.contributions import Contributions, stored_report
from aggregator.heads.report_view import ReportView
from aggregator.partial_sum import PartialSum, merged
from aggregator.policy import Method, Policy
from aggregator.store import Store, StoredStatistics
from aggregator.store.rows import (
    APART,
    HANDOVER,
    NO_REPORT,
    WORKER_CHANGES,
    WORKER_SUMS,
    ApartRow,
    Handover,
    WorkerChangeRow,
)
from headway.errors import StoreError
from headway.fields import parse_json
from headway.maths import Statistics
from headway.wire import StatisticsReport

# (known, row, old, new): `row` with the tables `new` has taken the place of `known` with `old`
Replaced = Callable[[StoredStatistics | None, StoredStatistics, Statistics | None, Statistics], None]
# known before, stored now, and what that holds
Report = tuple[StoredStatistics | None, StoredStatistics, StatisticsReport]
Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Pending:
    """What workers stored. part: all their partial sums; summed: what is in it, with samples by class before and after;
    reports: what is in none."""

    changes: Sequence[WorkerChangeRow]
    part: PartialSum | None
    summed: Sequence[tuple[WorkerChangeRow, tuple[Counts, Counts]]] = ()
    reports: Sequence[Report] = ()

    def before(self, rows: Sequence[StoredStatistics]) -> list[StoredStatistics]:
        """The reports as the sums have them. rows: as they are stored, payloads left out."""
        changed = {(row.device, row.epoch) for row in self.changes}
        kept = [row for row in rows if (row.device, row.epoch) not in changed]
        return kept + [known for change in self.changes if (known := known_before(change)) is not None]


class HandedOver:
    """Of one feature space. Every method must run inside a transaction of the store."""

    def __init__(self, space: str, view: ReportView, classes: ClassList, contributions: Contributions) -> None:
        self._space, self._view, self._store = space, view, view.store
        self._classes, self._contributions = classes, contributions
        self._apart = {row.device for row in self._store.rows(APART).all(space)}

    def read(self) -> Pending | None:
        """What waits; None for nothing. Raises StoreError where it cannot be taken over: sums have to be made anew."""
        pending = self.waiting(self._space, self._store)
        if not pending.changes:
            return None
        summed = [row for row in pending.changes if not row.whole]
        if not self._apart.isdisjoint(row.device for row in summed):
            raise StoreError("workers added up reports of devices that stand apart")
        counts = [(class_counts(row.device, row.old_counts), class_counts(row.device, row.counts)) for row in summed]
        reports = [self._report(row) for row in pending.changes if row.whole]
        return replace(pending, summed=[*zip(summed, counts, strict=True)], reports=reports)

    @staticmethod
    def waiting(space: str, store: Store) -> Pending:
        """What waits, without the reports. Raises StoreError for a partial sum that is damaged."""
        parts = (PartialSum.decode(row.payload) for row in store.rows(WORKER_SUMS).all(space))
        return Pending(store.rows(WORKER_CHANGES).all(space), merged(parts))

    def take_over(self, pending: Pending, replaced: Replaced) -> None:
        """Bring the sums up to what is stored."""
        if pending.part is not None:
            counts = [((row.device, row.epoch), *both) for row, both in pending.summed]
            self._contributions.merge(pending.part, counts)
            for (device, epoch), _, after in counts:
                self._classes.put_counts(device, epoch, after)
        self._view.hide({(stored.device, stored.epoch): known for known, stored, _ in pending.reports})
        for known, stored, report in pending.reports:
            self._view.show((stored.device, stored.epoch))
            before = None if known is None else stored_report(known)
            replaced(known, stored, None if before is None else before.statistics, report.statistics)
        self.drop()

    def _report(self, change: WorkerChangeRow) -> Report:
        stored = self._store.statistics(change.device, change.epoch)
        report = None if stored is None else stored_report(stored)
        if stored is None or report is None:
            raise StoreError(f"the report of {change.device} that workers stored is not there")
        return known_before(change), stored, report

    def drop(self) -> None:
        """The sums are those of what is stored."""
        self._store.rows(WORKER_CHANGES).remove(self._space)
        self._store.rows(WORKER_SUMS).remove(self._space)

    def keep(self) -> None:
        """Tell workers whose reports have to come one by one from now on."""
        now = self._contributions.apart
        if now == self._apart:
            return
        rows = self._store.rows(APART)
        for device in self._apart - now:
            rows.remove(self._space, device)
        rows.put_all([ApartRow(self._space, device) for device in sorted(now - self._apart)])
        self._apart = set(now)


def say_what_to_hand_over(store: Store, policy: Policy, workers: bool) -> None:
    """Tell workers what this publisher needs of them. In a transaction. workers: whether it takes over anything."""
    told = policy.method is Method.EXACT and policy.prior_devices_min > 0
    wanted = (Handover.REPORTS if told else Handover.SUMS) if workers else Handover.NONE
    if store.number(HANDOVER) != wanted:
        store.put_number(HANDOVER, wanted)


def known_before(change: WorkerChangeRow) -> StoredStatistics | None:
    """The report that the publisher knows; None for none."""
    if change.old_counter == NO_REPORT:
        return None
    return StoredStatistics(
        change.device, change.epoch, change.old_counter, change.space, change.old_payload, change.old_samples,
        change.old_counts,
    )  # fmt: skip


def row_now(change: WorkerChangeRow) -> StoredStatistics:
    """The report that is stored, its payload left out."""
    return StoredStatistics(
        change.device, change.epoch, change.counter, change.space, b"", change.samples, change.counts
    )


def class_counts(device: str, counts: str) -> Mapping[str, int]:
    """Samples by class as they are stored. Raises StoreError."""
    if not counts:
        return {}
    found = parse_json(counts.encode(), f"class counts of {device}", StoreError, len(counts.encode()))
    if not isinstance(found, dict):
        raise StoreError(f"class counts of {device} are {counts[:80]!r}; they must be counts by name")
    return found
