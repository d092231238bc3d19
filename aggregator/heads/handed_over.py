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

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from aggregator.heads.class_list import ClassList
from aggregator.heads.contributions import Contributions
from aggregator.heads.report_view import ReportView
from aggregator.heads.stored_reports import class_counts, stored_report
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
from headway.errors import LocalError, StoreError
from headway.maths import Statistics

# (known, row, old, new): `row` with the tables `new` has taken the place of `known` with `old`
Replaced = Callable[[StoredStatistics | None, StoredStatistics, Statistics | None, Statistics], None]
Counts = Mapping[str, int]
# rows that are read together: each may hold a report
ROWS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Pending:
    """What workers stored. changes: earlier reports left out; part: all their partial sums; summed: what is in it, with
    samples by class before and after."""

    changes: Sequence[WorkerChangeRow]
    part: PartialSum | None
    summed: Sequence[tuple[WorkerChangeRow, tuple[Counts, Counts]]] = ()

    def is_stored(self, rows: Sequence[StoredStatistics]) -> bool:
        """Whether these rows hold what workers stored; not where somebody was removed meanwhile, as from a backup."""
        stored = {(row.device, row.epoch): row.counter for row in rows}
        return all(stored.get((row.device, row.epoch)) == row.counter for row in self.changes)

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
        known = [known_before(row) for row in summed]
        before: list[Counts] = [{} if row is None else class_counts(row) for row in known]
        counts = [(old, class_counts(row_now(row))) for old, row in zip(before, summed, strict=True)]
        return replace(pending, summed=[*zip(summed, counts, strict=True)])

    @staticmethod
    def waiting(space: str, store: Store) -> Pending:
        """What waits, `summed` left out. Raises StoreError for a partial sum that is damaged."""
        parts = (PartialSum.decode(row.payload) for row in store.rows(WORKER_SUMS).all(space))
        return Pending([*_changes(space, store)], merged(parts))

    def take_over(self, pending: Pending, replaced: Replaced) -> None:
        """Bring the sums up to what is stored."""
        if pending.part is not None:
            counts = [((row.device, row.epoch), *both) for row, both in pending.summed]
            self._contributions.merge(pending.part, counts)
            for (device, epoch), _, after in counts:
                self._classes.put_counts(device, epoch, after)
        whole = [row for row in pending.changes if row.whole]
        epochs = Counter(row.device for row in whole)
        self._view.hide({(row.device, row.epoch): self._before(row) for row in whole if epochs[row.device] > 1})
        for row in whole:
            self._view.show((row.device, row.epoch))
            known, stored = self._before(row), self._store.statistics(row.device, row.epoch)
            report = None if stored is None else stored_report(stored)
            if stored is None or report is None:
                raise LocalError(f"the report of {row.device} that a worker stored is not there")
            old = None if known is None else stored_report(known)
            replaced(known, stored, None if old is None else old.statistics, report.statistics)
        self.drop()

    def _before(self, change: WorkerChangeRow) -> StoredStatistics | None:
        """The report that the publisher knows; None for none."""
        return whole_before(self._store, change)

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


def labels_handed_over(store: Store, space: str) -> dict[str, int]:
    """By device, how many labels more the store holds than the sums, for what workers stored since."""
    gained = Counter[str]()
    for row in _changes(space, store):
        gained[row.device] += max(row.samples, 0) - max(row.old_samples, 0)
    return gained


def known_before(change: WorkerChangeRow) -> StoredStatistics | None:
    """The report that the publisher knows, as far as it is in the row; None for none."""
    if change.old_counter == NO_REPORT:
        return None
    return StoredStatistics(
        change.device, change.epoch, change.old_counter, change.space, change.old_payload, change.old_samples,
        change.old_counts,
    )  # fmt: skip


def whole_before(store: Store, change: WorkerChangeRow) -> StoredStatistics | None:
    """The same with its payload, which was left out when the changes were read."""
    row = store.rows(WORKER_CHANGES).get(change.space, change.device, change.epoch)
    return None if row is None else known_before(row)


def row_now(change: WorkerChangeRow) -> StoredStatistics:
    """The report that is stored, its payload left out."""
    return StoredStatistics(
        change.device, change.epoch, change.counter, change.space, b"", change.samples, change.counts
    )


def _changes(space: str, store: Store) -> Iterator[WorkerChangeRow]:
    """What waits, earlier reports left out: those of a whole fleet are never in memory together."""
    rows = store.rows(WORKER_CHANGES)
    some = rows.all(space, count_max=ROWS_AT_ONCE)
    while some:
        yield from (replace(row, old_payload=b"") for row in some)
        last = some[-1]
        some = rows.all(space, after=(space, last.device, last.epoch), count_max=ROWS_AT_ONCE)
