"""Takes in what devices learned: whole statistics, changes to them, parts of them, and updates of gradients.

Each is checked, compared with what is stored of its device and epoch, and stored; every device that said something is
answered once for the whole batch, be its report taken or refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from aggregator.acknowledgements import Acknowledgements
from aggregator.assembly import Assemblies
from aggregator.branches import Branches, check_same_history
from aggregator.clearings import Clearings
from aggregator.effects import Effect, Instant, Refused
from aggregator.heads import Space, stored_report
from aggregator.policy import Limits
from aggregator.readers import Readers
from aggregator.reading_ahead import ReadingAhead
from aggregator.refusal_answers import RefusalAnswers
from aggregator.regions import RegionsBelow
from aggregator.registry.registry import Registry
from aggregator.removals import Marks
from aggregator.store import Store, StoredStatistics, StoredUpdate
from aggregator.taken_updates import TakenUpdate
from headway.errors import RemoteError
from headway.wire import (
    REPORT_BYTES_MAX,
    Kind,
    Parting,
    ReportPart,
    RunPoint,
    StatisticsChange,
    StatisticsReport,
    Update,
    is_change,
    is_part,
)


class ReportSpaces(Protocol):
    """Where reports are stored and counted, by feature space: `aggregator.heads.Spaces`, or a worker's."""

    @property
    def size_max(self) -> int: ...

    def of(self, space: str) -> Space: ...

    def take(
        self,
        report: StatisticsReport,
        payload: bytes,
        known: StoredStatistics | None,
        stored: StatisticsReport | None,
    ) -> None: ...


class ReportIntake:
    """Of one fleet. Every method must run inside a transaction of the store. pace_s: asked of devices. readers: of wide
    reports, beside this process.

    updates_per_device: gradient updates of one device that may wait; of further ones only the number is taken, so that
    none keeps others' out. 0: as many as there is room for. below: of a server that is a region.
    """

    def __init__(
        self,
        fleet: str,
        store: Store,
        spaces: ReportSpaces,
        registry: Registry,
        clearings: Clearings,
        marks: Marks,
        limits: Limits,
        pace_s: float,
        readers: Readers | None = None,
        updates_per_device: int = 0,
        below: RegionsBelow | None = None,
    ) -> None:
        self._store, self._spaces, self._registry = store, spaces, registry
        self._clearings, self._marks, self._limits = clearings, marks, limits
        self._updates_per_device, self._below = updates_per_device, below
        self._assemblies = Assemblies(store, limits.parts_max)
        self._acks = Acknowledgements(fleet, store, self._assemblies, pace_s)
        self._branches = Branches(store)
        self._refusals = RefusalAnswers()
        # of this batch; looking for bundles costs more than a message
        self._size_max = 0
        # gradient updates that wait, None where that is to be asked
        self._pending: int | None = None
        self._ahead = ReadingAhead(store, registry.newest_epoch, readers)
        # what is to be answered: by device and epoch, whether the report came from another branch than the stored one
        self._touched: dict[tuple[str, int], Parting | None] = {}

    @property
    def handlers(self) -> Mapping[Kind, Callable[[str, bytes, Instant], None]]:
        """What takes in a message of each kind. They raise RemoteError for what is refused."""
        return {Kind.STATISTICS: self._on_statistics, Kind.UPDATE: self._on_update}

    def begin_batch(self, batch: Sequence[tuple[str, bytes]], now: Instant) -> None:
        """Statistics of these devices are about to come, each as device and payload."""
        if batch:
            self._size_max = self._spaces.size_max
            self._marks.begin((device for device, _ in batch), now.wall_s)
            self._ahead.begin(batch, self._size_max)

    def begin(self) -> None:
        """Another message is looked at."""
        self._refusals.begin()

    def refused(self, device: str, error: RemoteError) -> None:
        """The message at hand was refused."""
        self._refusals.add(device, error)

    def answer(self, device: str, epoch: int) -> Effect:
        """What is stored of one epoch of a device, at once."""
        return self._acks.of(device, epoch)

    def answers(self) -> list[Effect]:
        """What the devices of this batch are to be told; once."""
        effects: list[Effect] = []
        for device, told in self._refusals.take().items():
            effects.append(self._acks.of(device, told.epoch, told=told))
        effects += [self._acks.of(*sender, parting) for sender, parting in self._touched.items()]
        self._touched.clear()
        for update in self._branches.take_counted():
            history = update.epoch, update.counter, update.sequence, update.run_id
            effects.append(self._acks.counted(update.device, *history))
        self._acks.end_batch()
        self._ahead.end()
        self._pending = None
        return effects

    def _on_statistics(self, device: str, payload: bytes, now: Instant) -> None:
        size_max = self._size_max
        self._ahead.reach(payload)
        if self._repeated(device, payload, now):
            return
        base: StatisticsReport | None = None
        if is_change(payload):
            change = StatisticsChange.decode(payload, size_max)
            self._admit(device, change.device, change.epoch, now)
            base = self._base(change)
            if base is None:
                return
            report = change.applied(base)
            payload = report.encode(packed=False)
        elif is_part(payload):
            part = ReportPart.decode(payload)
            self._admit(device, part.device, part.epoch, now)
            if self._is_stored(part):
                return
            joined = self._assemblies.take(part)
            if joined is None:
                return
            report = StatisticsReport.decode(joined, size_max, REPORT_BYTES_MAX)
            if (report.device, report.epoch, report.counter) != (part.device, part.epoch, part.counter):
                raise RemoteError("parts hold the report of another device, epoch or counter")
            payload = joined
        else:
            report = self._ahead.report(payload, size_max)
            if not report.statistics.samples and self._store.is_removed(device, report.epoch):
                # the device knows it, and says so in case it was forgotten here
                self._touched.setdefault((device, report.epoch), None)
                return
            self._admit(device, report.device, report.epoch, now)
        known = self._store.statistics(device, report.epoch)
        stored = self._ahead.stored(known) if base is None and known is not None else base
        if known is not None and self._parts(report, known, stored):
            return
        if known is not None and report.counter <= known.counter:
            check_same_history(report, payload, known)
            return
        if self._answered(report, self._branches.overlap(report, known)):
            return
        if self._below is not None and base is None:
            self._below.take(device, payload)
        self._marks.take(device, report.epoch, report.statistics.space, known, now.wall_s)
        self._spaces.take(report, payload, known, stored)
        self._acks.stored(device, report.epoch, RunPoint(report.history.run_id, report.counter))
        self._registry.took_in(device, now, epoch=report.epoch, counter=report.counter)

    def _base(self, change: StatisticsChange) -> StatisticsReport | None:
        """The stored report that a change is to be added to; None when a later one is stored."""
        known = self._store.statistics(change.device, change.epoch)
        if known is not None and (self._parts(change, known) or change.counter <= known.counter):
            return None
        base = None if known is None or known.counter != change.base else stored_report(known)
        if base is None:
            stored = 0 if known is None else known.counter
            raise Refused("base", f"a change to counter {change.base} came, {stored} is stored; send whole statistics")
        return base

    def _parts(
        self,
        report: StatisticsReport | StatisticsChange,
        known: StoredStatistics,
        read: StatisticsReport | None = None,
    ) -> bool:
        """Whether a report comes from another branch than the stored one, which it is then answered."""
        return self._answered(report, self._branches.parting(report, known, read))

    def _answered(self, report: StatisticsReport | StatisticsChange | Update, parting: Parting | None) -> bool:
        if parting is None:
            return False
        self._touched[report.device, report.epoch] = parting
        self._branches.answered(report)
        return True

    def _repeated(self, device: str, payload: bytes, now: Instant) -> bool:
        """The report that is stored, once more: it was checked when it came, and is answered again."""
        epoch = self._registry.newest_epoch(device)
        known = self._store.statistics(device, epoch) if epoch else None
        if known is None or known.payload != payload:
            return False
        self._admit(device, device, epoch, now)
        return True

    def _is_stored(self, part: ReportPart) -> bool:
        """Whether it is of the report that is stored, told once more."""
        known = self._store.statistics(part.device, part.epoch)
        if known is None or known.counter != part.counter:
            return False
        return hashlib.sha256(known.payload).hexdigest() == part.sha256

    def _on_update(self, device: str, payload: bytes, now: Instant) -> None:
        update = Update.decode(payload)
        self._admit(device, update.device, update.epoch, now)
        taken = TakenUpdate.stored(self._store, device, update.epoch)
        parting = self._branches.update_parting(update, taken)
        if self._answered(update, parting) or self._branches.is_taken(update, taken):
            return
        self._branches.check(update)
        # a store that was lost knows less than its acks confirmed; the device no longer has what they covered
        expected = max(taken.sequence, update.acked) + 1
        if not self._branches.follows(update, taken, expected):
            # acknowledging it would acknowledge the missing ones too, and the device would forget them
            raise Refused(
                "gap", f"update {update.sequence} of {device} came before {expected}; it has to send them in order"
            )
        if self._pending is None:
            self._pending = self._store.update_count()
        share = self._updates_per_device
        full = share > 0 and self._store.update_count(device) >= share
        if not full and self._pending >= self._limits.pending_updates_max:
            raise Refused("limit", "too many updates wait for a head; the device keeps this one")
        taken = TakenUpdate.of(update)
        self._store.put_sequence(device, update.epoch, update.sequence, update.run_id, taken.encode())
        self._acks.taken(device, update.epoch, taken)
        self._registry.took_in(device, now, epoch=update.epoch, sequence=update.sequence)
        # the number is taken even if the update cannot be used: it would block the ones behind it for ever
        heads = self._spaces.of(update.space).heads
        newest = heads.check(update)
        if full:
            return
        row = StoredUpdate(device, update.epoch, update.sequence, update.space, payload, now.wall_s)
        self._store.put_update(row)
        self._pending += 1
        heads.update_stored(update, newest)

    def _admit(self, device: str, claimed: str, epoch: int, now: Instant) -> None:
        """May this device say this? From here on the message is answered, be it refused or not."""
        if claimed != device:
            raise Refused("forged", f"the payload names device {claimed[:64]!r}, the topic {device!r}")
        self._registry.admit(device, now, contributes=True)
        self._touched.setdefault((device, epoch), None)
        self._refusals.of(epoch)
        if self._store.is_removed(device, epoch):
            # the broker retains it now, or still does
            self._clearings.add(device, Kind.STATISTICS)
            raise Refused("removed", f"epoch {epoch} of {device} was removed on request; it must start a new one")
