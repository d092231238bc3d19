"""Keeps the fleet's sums in the store with the transaction that changed them, so that starting reads no reports.

A kept sum is taken up again only where it is known to be that of the stored reports. It carries a digest of its own
bytes and the bundle's classes; the sum of what counts carries a mark of every stored report, which is compared with
the rows of the store; the sums that devices are told must hold the samples that their entries name. Whatever differs
(a damaged row, rows that another program wrote, other rules) means that all are made anew from the reports.

    mark = sum over the reports of 64 bits of a digest of (device, epoch, counter, samples), modulo 2^64

so it follows a change without reading the others. `edge-fleet verify` compares with the reports themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from aggregator.effects import Note
from aggregator.engine import Engine
from aggregator.heads.class_list import ClassList
from aggregator.heads.contributions import Contributions
from aggregator.heads.handed_over import HandedOver, Pending, known_before, row_now
from aggregator.heads.report_view import ReportView
from aggregator.heads.stored_reports import class_counts, stored_report
from aggregator.heads.sum_bytes import KeptSum, decode, encode
from aggregator.heads.sum_changes import Difference
from aggregator.heads.told_sum import ToldSum
from aggregator.partial_sum import PartialSum
from aggregator.store import StoredStatistics
from aggregator.store.rows import SUMS, SumRow
from headway.errors import StoreError
from headway.fields import canonical_json
from headway.maths import Statistics

MARKS = 1 << 64
COUNTED, TOLD, NEXT = "counted", "told", "next"
# names of what a kept sum is known by: the reports that are stored, and from how many labels on a report is told
REPORTS, LABELS_MIN = "reports", "labels_min"


def mark_of(rows: Iterable[StoredStatistics]) -> int:
    """A number below 2^64 that stands for a set of stored reports."""
    return sum(_mark(row) for row in rows) % MARKS


def counts_text(tables: Statistics) -> str:
    """Samples by class as they are stored, see `StoredStatistics`."""
    counts = tables.counts.tolist()
    some = [f"{name}:{counts[place]}" for name, place in _written(tables.classes) if counts[place]]
    return f"{{{','.join(some)}}}" if some else ""


def counts_in_words(counts: Mapping[str, int]) -> str:
    """The same of the counts."""
    return canonical_json(dict(counts)).decode() if counts else ""


@lru_cache(64)
def _written(classes: tuple[str, ...]) -> list[tuple[str, int]]:
    """Names of classes as canonical JSON writes them, in its order, and their places: most reports have the same."""
    return [(canonical_json(name).decode(), classes.index(name)) for name in sorted(classes)]


class KeptSums:
    """The kept sums of one feature space. Every method must run inside a transaction of the store.

    view: what `contributions` and `told` have for a store. told_labels_min: of the rule by which reports are told to
    other devices.
    """

    def __init__(
        self,
        source: Statistics,
        view: ReportView,
        classes: ClassList,
        contributions: Contributions,
        told: ToldSum,
        told_labels_min: int,
        engine: Engine,
    ) -> None:
        self._space, self._size, self._bundle_classes = source.space, source.size, source.classes
        self._store, self._classes, self._contributions, self._told = view.store, classes, contributions, told
        self._told_labels_min, self._engine = told_labels_min, engine
        self._mark = 0
        self._written: dict[str, KeptSum] = {}
        self._handed_over = HandedOver(source.space, view, classes, contributions)

    def begin(self) -> list[Note]:
        """Take the kept sums up, or make them anew; what people should know of it."""
        rows = self._store.contributions(self._space)
        try:
            pending = self._handed_over.read()
            if pending is not None and not pending.is_stored(rows):
                raise StoreError("reports that workers added up are not stored")
            self._resume(rows if pending is None else pending.before(rows), pending)
            if pending is not None:
                self.keep()
        except StoreError as problem:
            self._make_anew(rows)
            self.keep()
            found = self._store.rows(SUMS).count(self._space) and rows
            return [Note(f"{problem}; the sums were made anew from {len(rows)} reports", warning=True)] if found else []
        return []

    def replaced(
        self, known: StoredStatistics | None, row: StoredStatistics, old: Statistics | None, new: Statistics
    ) -> None:
        """`row`, with the tables `new`, is stored in the place of `known` with `old`, None for nothing that counts."""
        self._classes.put(row.device, row.epoch, new)
        self._move_mark(known if known is not None and known.space == row.space else None, row)
        difference = Difference.of(old, new)
        self._told.changed(known, row, old, new, difference)
        self._contributions.replace(known, row, old, new, difference)
        if row.device in self._contributions.held:
            self._told.set_aside(self._contributions.quarantined)

    def take_over(self) -> list[str]:
        """Bring the sums up to what ingest workers stored; of which devices that was. Raises StoreError, see
        `HandedOver.read`: the next start makes the sums anew."""
        pending = self._handed_over.read()
        self._take_over(pending)
        return [] if pending is None else sorted({row.device for row in pending.changes})

    def _take_over(self, pending: Pending | None) -> None:
        if pending is not None:
            for row, _ in pending.summed:
                self._move_mark(known_before(row), row_now(row))
            self._handed_over.take_over(pending, self.replaced)

    def _move_mark(self, known: StoredStatistics | None, row: StoredStatistics) -> None:
        self._mark += mark_of([row]) - (0 if known is None else mark_of([known]))

    def about_to_remove(self, device: str) -> None:
        """A device's reports are about to go."""
        self._mark -= mark_of(self._store.contributions(self._space, device))

    def keep(self) -> None:
        """Write what changed, before the transaction that changed it ends."""
        self._mark %= MARKS
        self._handed_over.keep()
        counted = KeptSum(self._contributions.sum.sums, self._contributions.quarantined, {REPORTS: self._mark})
        self._write(COUNTED, counted)
        if self._told.wanted:
            marks = {LABELS_MIN: self._told_labels_min}
            told, coming = self._told.sums
            self._write(TOLD, KeptSum(told, self._told.aside, marks, self._told.counts))
            self._write(NEXT, KeptSum(coming, self._told.aside, marks))

    def _write(self, name: str, kept: KeptSum) -> None:
        before = self._written.get(name)
        if before is not None and kept.same_as(before):
            return
        self._written[name] = kept
        self._store.rows(SUMS).put(SumRow(self._space, name, encode(kept, self._bundle_classes)))

    def _resume(self, rows: list[StoredStatistics], pending: Pending | None) -> None:
        """Raises StoreError, with nothing changed, where something kept is not that of the store."""
        self._mark = mark_of(rows)
        counts = {(row.device, row.epoch): class_counts(row) for row in rows if row.samples >= 0}
        counted = self._read(COUNTED)
        if counted.marks != {REPORTS: self._mark}:
            raise StoreError("the kept sum is not that of the stored reports")
        if self._told.wanted:
            told, coming = self._read(TOLD), self._read(NEXT)
            if coming.marks != {LABELS_MIN: self._told_labels_min}:
                raise StoreError("prior_device_labels_min has another value than when the sum was kept")
            if not self._told.resume((told.sums, coming.sums), coming.aside, rows, counts, told.counts):
                raise StoreError("the kept sum of what devices are told is not that of the store")
            self._written |= {TOLD: told, NEXT: coming}
        else:
            # would be those of another day if devices are told again
            for name in (TOLD, NEXT):
                self._store.rows(SUMS).remove(self._space, name)
        self._written[COUNTED] = counted
        for (device, epoch), some in counts.items():
            self._classes.put_counts(device, epoch, some)
        self._contributions.resume(counted.sums, counted.aside, rows, counts, lambda: self._take_over(pending))

    def _read(self, name: str) -> KeptSum:
        row = self._store.rows(SUMS).get(self._space, name)
        if row is None:
            raise StoreError(f"no sum was kept of what is {name}")
        kept, classes = decode(row.payload, self._space)
        if classes != self._bundle_classes:
            raise StoreError("the kept sum is of other classes than the bundle's")
        return kept

    def _make_anew(self, rows: list[StoredStatistics]) -> None:
        """From the reports; what they hold is noted beside them, for the next start."""
        self._handed_over.drop()
        self._told.begin_anew()
        if not self._told.wanted:
            self._recount(rows)
            return
        # each report may be told, now or later, so each is looked at here
        noted = {(row.device, row.epoch): (row.samples, row.counts) for row in rows}
        holds: dict[tuple[str, int], tuple[int, str]] = {}
        for row in self._store.every_statistics(self._space):
            report = stored_report(row)
            tables = None if report is None else report.statistics
            self._contributions.found(row, tables)
            if tables is None:
                holds[row.device, row.epoch] = -1, ""
                continue
            self._classes.put(row.device, row.epoch, tables)
            self._told.found(row, tables)
            holds[row.device, row.epoch] = tables.samples, counts_text(tables)
        self._told.settle()
        for (device, epoch), held in holds.items():
            if held != noted[device, epoch]:
                self._store.put_contribution(device, epoch, *held)
        self._mark = mark_of(self._store.contributions(self._space))

    def _recount(self, rows: list[StoredStatistics]) -> None:
        """The same, where nothing is told: the engine may be many machines."""
        empty = PartialSum.create(self._size, self._bundle_classes, self._space)
        stored = self._store.every_statistics(self._space)
        found = self._engine.recount(stored, empty, self._contributions.quarantined)
        self._contributions.found_sum(found.part, found.held, found.unreadable)
        for (device, epoch), counts in found.held.items():
            self._classes.put_counts(device, epoch, counts)
        for row in rows:
            known = found.held.get((row.device, row.epoch))
            held = (-1, "") if known is None else (sum(known.values()), counts_in_words(known))
            if held != (row.samples, row.counts):
                self._store.put_contribution(row.device, row.epoch, *held)
        self._mark = mark_of(self._store.contributions(self._space))


def _mark(row: StoredStatistics) -> int:
    text = f"{row.device}\0{row.epoch}\0{row.counter}\0{row.samples}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
