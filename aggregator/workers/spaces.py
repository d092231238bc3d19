"""Where a worker stores reports: checked as the publisher would, stored, and added to a partial sum for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from aggregator.effects import Refused
from aggregator.heads import (
    Bundles,
    ClassList,
    FleetModel,
    FleetSum,
    Space,
    check_epochs,
    check_same_space,
    checked,
    class_counts,
    counts_text,
)
from aggregator.partial_sum import PartialSum
from aggregator.policy import Policy
from aggregator.store import Store, StoredStatistics
from aggregator.store.rows import (
    NO_REPORT,
    WORKER_CHANGES,
    WORKER_SUMS,
    Handover,
    WorkerChangeRow,
    WorkerSumRow,
)
from aggregator.store.working import Held
from headway.errors import BundleError, LocalError
from headway.maths import Statistics, Task
from headway.wire import StatisticsReport


@dataclass(frozen=True, slots=True)
class _Known:
    """A feature space that a worker has met. empty: the sum of nothing, for what it checks."""

    model: FleetModel
    empty: FleetSum


class WorkerSpaces:
    """Implements `aggregator.report_intake.ReportSpaces`. Every method must run inside a transaction of the store.

    worker: under whose name partial sums are kept.
    """

    def __init__(self, default: FleetModel, policy: Policy, store: Store, bundles: Bundles, worker: str) -> None:
        self._policy, self._store, self._bundles, self._worker = policy, store, bundles, worker
        self._default = default.space
        self._known = {default.space: self._met(default)}
        # why the bundle of a space cannot be used, found once
        self._unusable: dict[str, str] = {}
        self._held = Held(Handover.NONE, frozenset(), {})
        self._changes: dict[tuple[str, str, int], WorkerChangeRow] = {}
        # of the transaction that is open, by space
        self._sums: dict[str, PartialSum] = {}

    @property
    def size_max(self) -> int:
        """Codes per sample of the largest space that reports may be of."""
        sizes = (known.model.training_statistics.size for known in self._known.values())
        return max(*self._bundles.sizes().values(), *sizes, 0)

    def shape_of(self, space: str) -> tuple[int, Task]:
        """Classes and task of a space's bundle; of the default one where no bundle is here."""
        try:
            model = self._space_of(space).model
        except Refused:
            model = self._known[self._default].model
        return len(model.classes), model.task

    def of(self, space: str) -> Space:
        raise LocalError("a worker takes in statistics alone; gradient updates are the publisher's")

    def begin(self, held: Held) -> None:
        """A transaction began. held: what is known of its devices."""
        self._held, self._changes = held, {}
        self._sums.clear()

    def keep(self) -> None:
        """Write partial sums and what changed, before the transaction ends."""
        self._store.rows(WORKER_CHANGES).put_all([*self._changes.values()])
        rows = self._store.rows(WORKER_SUMS)
        for space, part in self._sums.items():
            kept = rows.get(space, self._worker)
            whole = part if kept is None else part.merge(PartialSum.decode(kept.payload))
            rows.put(WorkerSumRow(space, self._worker, whole.encode()))
        self._sums.clear()

    def take(
        self,
        report: StatisticsReport,
        payload: bytes,
        known: StoredStatistics | None,
        stored: StatisticsReport | None,
    ) -> None:
        """Store a report that is newer than what is stored of its epoch, `known`; `stored`: that one, read. Raises
        RemoteError."""
        check_same_space(report, known)
        space = self._space_of(report.statistics.space)
        old = checked(report, stored, space.model, space.empty, self._classes_of(space.model, report))
        check_epochs(self._store, report.device, known, self._policy.limits.epochs_per_device_max)
        new, name = report.statistics, space.model.space
        row = StoredStatistics(
            report.device, report.epoch, report.counter, name, payload, new.samples, counts_text(new)
        )
        self._store.put_statistics(row)
        if not self._noted(row, known):
            part = self._sums.get(name) or PartialSum.create(new.size, space.model.training_statistics.classes, name)
            self._sums[name] = part.add(old, new)

    def _noted(self, row: StoredStatistics, known: StoredStatistics | None) -> bool:
        """Note for the publisher that `row` took the place of `known`; whether it will look at both itself."""
        key = row.space, row.device, row.epoch
        before = self._changes.get(key) or self._held.changes.get(key)
        if before is not None:
            self._changes[key] = replace(before, counter=row.counter, samples=row.samples, counts=row.counts)
            return before.whole
        whole = self._held.handover == Handover.REPORTS or (row.space, row.device) in self._held.apart
        counter, samples, counts, payload = NO_REPORT, -1, "", b""
        if known is not None:
            counter, samples, counts = known.counter, known.samples, known.counts
            payload = known.payload if whole else b""
        self._changes[key] = WorkerChangeRow(
            *key, whole, row.counter, row.samples, row.counts, counter, samples, counts, payload
        )
        return whole

    def _space_of(self, name: str) -> _Known:
        """The space of this fingerprint; the default one, which refuses what is not its own, when no bundle has it.

        Raises Refused where its bundle cannot be used.
        """
        if name in self._unusable:
            raise Refused("space", self._unusable[name])
        if name not in self._known and name in self._bundles.sizes():
            try:
                self._known[name] = self._met(self._bundles.model(name))
            except BundleError as error:
                self._unusable[name] = f"feature space {name[:12]} cannot be served: {error}"
                raise Refused("space", self._unusable[name]) from error
        return self._known.get(name) or self._known[self._default]

    def _met(self, model: FleetModel) -> _Known:
        nothing = Statistics.zeros(model.training_statistics.size, model.classes, model.space)
        policy = self._policy
        empty = FleetSum(model.training_statistics, policy.shrinkage, policy.weighing, lambda _: nothing)
        return _Known(model, empty)

    def _classes_of(self, model: FleetModel, report: StatisticsReport) -> ClassList:
        """The classes that the device's other epochs add, as far as it is asked."""
        limits = self._policy.limits
        listed = ClassList(model.training_statistics.classes, limits, limits.classes_max)
        if listed.added_in(report.statistics):
            for row in self._store.contributions(model.space, report.device):
                listed.put_counts(row.device, row.epoch, class_counts(row))
        return listed
