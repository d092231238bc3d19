"""The sum that devices are told as a prior, which changes in steps that are too large to tell of single windows.

Who is told two sums knows their difference. So the sum changes only when `prior_labels_min` labels of
`prior_devices_min` devices are new since it was told last, and each device's part only by `prior_device_labels_min`
labels or more at a time: whoever conspires, takes off what is known anyway and is left with what many labels of one
device add up to. Everybody is told the same sum, less the own part as it is in it.

    a report comes  -> its (device, epoch) is ripe when it holds enough new labels; the report that is told is kept
    a device asks   -> when the ripe ones are many enough, they become part of what is told
    one is removed  -> its part goes at once, and nothing is told until the others have changed enough

All of it is in the store, so a restart changes nothing. A store that was lost, or is of an older day, knows less than
was told: `store_went_back`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aggregator.heads.class_list import ClassList
from aggregator.heads.contributions import by_device, parts_in, quarantined_in
from aggregator.heads.fleet_sum import FleetSum, Sums
from aggregator.heads.stored_reports import class_counts
from aggregator.heads.sum_changes import Difference
from aggregator.heads.told_cautions import UNSEEN, Cautions, ripe_in
from aggregator.heads.told_parts import NOTHING, Entry, Part, counts_in, current_tables, kept_tables, sum_of
from aggregator.policy import Method, Policy
from aggregator.store import Store, StoredStatistics, ToldStatistics
from aggregator.store.rows import RIPE, RipeRow
from headway.maths import Statistics


class ToldSum:
    """Every method must run inside a transaction of the store.

    At the start call `found` for each stored report that can be read, then `settle`; or `resume`.
    """

    def __init__(self, source: Statistics, policy: Policy, store: Store, classes: ClassList) -> None:
        self._source, self._policy, self._store, self._classes = source, policy, store, classes
        self._wanted = policy.method is Method.EXACT and policy.prior_devices_min > 0
        self._told, self._next = self._empty()
        self._cautions = Cautions(store, source.space)
        # the parts of this space: those of others have sums of their own
        parts = parts_in(store, source.space) if self._wanted else frozenset()
        told = [row for row in store.told() if (row.device, row.epoch) in parts]
        self._entries = {(row.device, row.epoch): Entry(row.counter, row.samples) for row in told}
        self._samples: dict[Part, int] = {}
        # as in the store
        self._ripe: set[Part] = set()
        # newest reports with which there is no head: nothing of them is told, nor counted as new
        self._aside: frozenset[Part] = quarantined_in(store, source.space)
        # at the start: parts with classes of which it is not known yet whether they are published
        self._unsure: list[Part] = []
        self._parts: dict[str, list[Part]] | None = None
        # samples by class of what is told, made once for each sum that is told
        self._counts: dict[Part, Mapping[str, int]] | None = None
        # counts the sums that were told, so that an encoded one can be kept for all who ask
        self.generation = 0

    @property
    def wanted(self) -> bool:
        """Whether devices of this fleet are told anything."""
        return self._wanted

    @property
    def aside(self) -> frozenset[Part]:
        """Parts of which the newest report does not count in the head."""
        return self._aside

    @property
    def sums(self) -> tuple[Sums, Sums]:
        """What is told, and what is next, to be kept; `resume` takes them up again."""
        return self._told.sums, self._next.sums

    def begin_anew(self) -> None:
        """What is ripe follows from the reports, which `found` is about to be called with."""
        self._ripe = ripe_in(self._store, self._source.space)
        self._unripe_all()

    @property
    def counts(self) -> dict[Part, Mapping[str, int]]:
        """Samples by class of each part that is told, to be kept."""
        if self._counts is None:
            self._counts = {part: entry.counts for part, entry in self._entries.items() if entry.told}
        return self._counts

    def resume(
        self,
        sums: tuple[Sums, Sums],
        aside: frozenset[Part],
        rows: Sequence[StoredStatistics],
        current: Mapping[Part, Mapping[str, int]],
        told: Mapping[Part, Mapping[str, int]],
    ) -> bool:
        """Instead of `found`: sums that were kept, of what is told and of what is next; False, and nothing, where they
        are not those of the store.

        rows: of all stored reports, payloads left out; current, told: samples by class of those, and of what is told.
        """
        samples = {part: sum(counts.values()) for part, counts in current.items()}
        ripe = ripe_in(self._store, self._source.space)
        in_told = {part: entry.samples for part, entry in self._entries.items() if entry.told}
        if not samples.keys() >= {*ripe, *in_told}:
            return False
        in_next = in_told | {part: samples[part] for part in ripe}
        if (sum(in_told.values()), sum(in_next.values())) != tuple(one.total.samples for one in sums):
            return False
        if in_told != {part: sum(counts.values()) for part, counts in told.items()}:
            return False
        self._samples, self._ripe, self._aside = samples, ripe, aside
        for row in rows:
            entry = self._entries.get((row.device, row.epoch), NOTHING)
            if entry.told:
                counts = told[row.device, row.epoch]
                kept = entry.counter != row.counter
                self._entries[row.device, row.epoch] = replace(entry, kept=kept, counts=counts)
        self._told.resume(sums[0], by_device(told))
        self._next.resume(sums[1], by_device({**told, **{part: current[part] for part in ripe}}))
        return True

    def found(self, row: StoredStatistics, statistics: Statistics) -> None:
        """A stored report, when the program starts."""
        if not self._wanted:
            return
        part = row.device, row.epoch
        self._samples[part] = statistics.samples
        entry = self._entries.get(part, NOTHING)
        told: Statistics | None = None
        if entry.told:
            kept = entry.counter != row.counter
            told = self._kept(part) if kept else statistics
            self._entries[part] = replace(entry, kept=kept, counts=counts_in(told))
        if told is not None:
            self._told.replace(part[0], None, told)
            self._next.replace(part[0], None, told)
        elif entry.told:
            self._lose(part)
        self._ripen(part, told, statistics)
        if part not in self._ripe and self._classes.added_in(statistics):
            self._unsure.append(part)

    def settle(self) -> None:
        """Every stored report was found: what is told of others cannot be told any more, and all classes are known."""
        for part in self._unsure:
            current = self._current(part)
            if current is not None:
                self._ripen(part, self._tables_in_told(part), current)
        self._unsure.clear()
        for part, entry in list(self._entries.items()):
            if entry.told and part not in self._samples:
                self._lose(part)

    def changed(
        self, known: StoredStatistics | None, row: StoredStatistics, old: Statistics | None, new: Statistics,
        difference: Difference | None = None,
    ) -> None:  # fmt: skip
        """`row`, with the tables `new`, has taken the place of `known` with `old`, None for nothing. difference: of
        both."""
        if not self._wanted:
            return
        part = row.device, row.epoch
        self._aside -= {part}
        entry = self._entries.get(part, NOTHING)
        self._samples[part] = new.samples
        if entry.counter == UNSEEN or (part not in self._entries and self._cautions.wary):
            entry = self._enter(part, Entry(samples=new.samples))
        if entry.told and not entry.kept and known is not None:
            entry = self._enter(part, replace(entry, kept=True), known.payload)
        if part not in self._ripe:
            self._ripen(part, self._kept(part) if entry.kept else None, new)
        elif self._is_ripe(part, new):
            self._next.replace(part[0], old, new, difference)
        else:
            self._unripe(part)
            self._next.replace(part[0], old, self._kept(part) if entry.kept else None)

    def set_aside(self, quarantined: frozenset[Part]) -> None:
        """These parts, and no others, are in quarantine with the report that is stored of them."""
        if not self._wanted:
            return
        came, went = quarantined - self._aside, self._aside - quarantined
        self._aside = quarantined
        for part in sorted(came & self._samples.keys()):
            told, coming = self._tables_in_told(part), self._tables_in_next(part)
            self._unripe(part)
            entry = self._entries.get(part, NOTHING)
            if entry.told and not entry.kept:
                self._lose(part)
                self._told.replace(part[0], told, None)
            self._next.replace(part[0], coming, self._tables_in_told(part))
        for part in sorted(went & self._samples.keys()):
            current = self._current(part)
            if current is not None:
                self._ripen(part, self._tables_in_told(part), current)

    def removed(self, device: str) -> None:
        """A device is about to be taken out of the fleet, and what the store holds of it."""
        for part in [part for part in {*self._samples, *self._entries} if part[0] == device]:
            told, coming = self._tables_in_told(part), self._tables_in_next(part)
            if self._entries.pop(part, NOTHING).told:
                self._cautions.withhold()
            self._samples.pop(part, None)
            self._unripe(part)
            self._aside -= {part}
            self._parts = None
            self._told.replace(device, told, None)
            self._next.replace(device, coming, None)
        self._new_generation()

    def store_went_back(self) -> None:
        """The store knows less than was told: begin anew, with what comes after the first report of each part."""
        if not self._wanted:
            return
        self._told, self._next = self._empty()
        self._unripe_all()
        self._entries = {part: Entry(UNSEEN, samples) for part, samples in self._samples.items()}
        self._write(list(self._entries))
        self._cautions.be_wary()
        self._new_generation()

    def advance(self) -> None:
        """Take what is ripe into what is told, if it is enough."""
        policy = self._policy
        fresh = {part: self._samples[part] - self._entries.get(part, NOTHING).samples for part in self._ripe}
        if not fresh or len({device for device, _ in fresh}) < policy.prior_devices_min:
            return
        first = not self._cautions.withheld and not self._parts_by_device()
        if not first and sum(labels for labels in fresh.values() if labels > 0) < policy.prior_labels_min:
            return
        rows = self._store.contributions(self._source.space)
        now = {(row.device, row.epoch): row for row in rows}
        for part in fresh:
            self._entries[part] = Entry(now[part].counter, self._samples[part], counts=class_counts(now[part]))
        self._write(sorted(fresh))
        self._unripe_all()
        self._parts = None
        self._told.take_over(self._next)
        self._cautions.end()
        self._new_generation()

    def devices_besides(self, device: str) -> int:
        """How many other devices are in what is told; 0 while nothing may be told."""
        return 0 if self._cautions.withheld else len(self._parts_by_device().keys() - {device})

    def contains(self, device: str) -> bool:
        """Whether a device has a part in what is told."""
        return device in self._parts_by_device()

    def without(self, device: str) -> Statistics:
        """What a device is told: the sum of the others, as of the last `advance`."""
        return self._told.without(device)

    def _parts_by_device(self) -> dict[str, list[Part]]:
        """What is told, by device."""
        if self._parts is None:
            self._parts = {}
            for part, entry in self._entries.items():
                if entry.told:
                    self._parts.setdefault(part[0], []).append(part)
        return self._parts

    def _is_ripe(self, part: Part, new: Statistics) -> bool:
        """Whether a part holds enough that is new, no class that is not published, and counts in the head."""
        entry = self._entries.get(part, NOTHING)
        if part in self._aside:
            return False
        fresh = abs(new.samples - entry.samples)
        if entry.counter == UNSEEN or fresh < self._policy.prior_device_labels_min:
            return False
        return self._classes.listed.issuperset(self._classes.added_in(new))

    def _ripen(self, part: Part, told: Statistics | None, new: Statistics) -> None:
        if self._is_ripe(part, new):
            self._ripe.add(part)
            self._store.rows(RIPE).put(RipeRow(*part))
            self._next.replace(part[0], told, new)

    def _unripe(self, part: Part) -> None:
        if part in self._ripe:
            self._ripe.discard(part)
            self._store.rows(RIPE).remove(*part)

    def _unripe_all(self) -> None:
        rows = self._store.rows(RIPE)
        # of all spaces together
        if rows.count() == len(self._ripe):
            rows.remove()
        else:
            for part in self._ripe:
                rows.remove(*part)
        self._ripe.clear()

    def _lose(self, part: Part) -> None:
        """What was told of a part cannot be read any more, so it cannot be told again, either."""
        self._enter(part, Entry(samples=self._entries[part].samples))
        self._cautions.withhold()
        self._new_generation()

    def _new_generation(self) -> None:
        self.generation += 1
        self._parts = self._counts = None

    def _enter(self, part: Part, entry: Entry, payload: bytes = b"") -> Entry:
        self._entries[part] = entry
        self._store.put_told([ToldStatistics(*part, entry.counter, entry.samples, payload)])
        return entry

    def _write(self, parts: list[Part]) -> None:
        entries = self._entries
        self._store.put_told([ToldStatistics(*part, entries[part].counter, entries[part].samples) for part in parts])

    def _tables_in_told(self, part: Part) -> Statistics | None:
        entry = self._entries.get(part, NOTHING)
        if not entry.told:
            return None
        return self._kept(part) if entry.kept else self._current(part)

    def _tables_in_next(self, part: Part) -> Statistics | None:
        return self._current(part) if part in self._ripe else self._tables_in_told(part)

    def _told_of(self, device: str) -> Statistics:
        return sum_of(self._source, (self._tables_in_told(part) for part in self._parts_by_device().get(device, [])))

    def _next_of(self, device: str) -> Statistics:
        parts = {*self._parts_by_device().get(device, []), *(part for part in self._ripe if part[0] == device)}
        return sum_of(self._source, (self._tables_in_next(part) for part in sorted(parts)))

    def _kept(self, part: Part) -> Statistics | None:
        return kept_tables(self._store, part)

    def _current(self, part: Part) -> Statistics | None:
        return current_tables(self._store, part)

    def _empty(self) -> tuple[FleetSum, FleetSum]:
        """The sum that is told, and the next one, of nothing."""
        shrinkage, weighing = self._policy.shrinkage, self._policy.weighing
        told = FleetSum(self._source, shrinkage, weighing, self._told_of)
        return told, FleetSum(self._source, shrinkage, weighing, self._next_of)
