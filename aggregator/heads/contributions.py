"""Which stored statistics count in the fleet's head: all that can be read, but for those set aside in quarantine.

A head that cannot be solved is nobody's head: the last one stays, and of the reports that came since it was made those
are found with which there is none. They stay stored and acknowledged, but do not count, also after a restart, until
the device's next report takes their place or an operator readmits them (``edge-fleet readmit``). Of a device that an
operator set aside (``edge-fleet quarantine``) no report counts, also no later one, until it is readmitted. Nor does one
of a device that contradicts all others (`aggregator.heads.review`), until it no longer does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from aggregator.effects import Effect, Instant, Note
from aggregator.heads.asides import PROBLEM_CHARACTERS_MAX, count_again, put_aside
from aggregator.heads.fleet_sum import FleetSum, Solve, Sums
from aggregator.heads.portraits import Finding
from aggregator.heads.review import BUSY_SHARE, Review
from aggregator.heads.steps import READ_NUMBER_S, READ_S, VERDICT_S
from aggregator.heads.stored_reports import stored_tables
from aggregator.heads.sum_changes import Difference
from aggregator.partial_sum import PartialSum
from aggregator.policy import Policy
from aggregator.store import EventRow, Store, StoredStatistics
from aggregator.store.rows import EVERY_EPOCH, QUARANTINED, SUSPICIOUS, QuarantineRow
from headway.fields import canonical_json
from headway.maths import Head, Statistics, fleet_head

# (device, epoch)
Key = tuple[str, int]


class Contributions:
    """Keeps the running sum of what counts. Every method must run inside a transaction of the store.

    At the start call `found` for each stored report, or `resume`. solve: makes the head, see `FleetSum`.
    """

    def __init__(self, source: Statistics, policy: Policy, store: Store, solve: Solve = fleet_head) -> None:
        self._nothing = Statistics.zeros(source.size, source.classes, source.space)
        self._store, self._events_max = store, policy.limits.events_max
        self._quarantined: set[Key] = {*quarantined_in(store, source.space)}
        # devices that an operator set aside, with the row that says so
        self._held = held_in(store)
        self._write_down()
        # what came since the last head that could be solved, oldest first; of a program that has just started, nothing
        self._unproven: dict[Key, None] = {}
        self.sum = FleetSum(source, policy.shrinkage, policy.weighing, self.counted, solve)
        self._unreadable: list[Key] = []
        self._review, self._step_s = Review(source, policy, store), policy.outliers.step_s
        # what was found of each device, until it is carried out; when that goes on
        self._verdicts: dict[str, Finding] = {}
        self._next_at_s = float("inf")
        self._notes: list[Effect] = []

    def found(self, row: StoredStatistics, tables: Statistics | None) -> None:
        """A stored report, when the program starts; `tables` None where it cannot be read."""
        self._review.stored([row.device])
        if tables is None:
            self._unreadable.append((row.device, row.epoch))
        elif (row.device, row.epoch) not in self._quarantined:
            self.sum.replace(row.device, None, tables)

    def found_sum(self, part: PartialSum, held: Mapping[Key, Mapping[str, int]], unreadable: Sequence[Key]) -> None:
        """Instead of `found`, of every stored report at once. part: the sum of what is not in quarantine; held: samples
        by class of each report that can be read."""
        self._review.stored({device for device, _ in (*held, *unreadable)})
        self._unreadable = [*unreadable]
        nothing: Mapping[str, int] = {}
        counted = ((key[0], nothing, counts) for key, counts in held.items() if key not in self._quarantined)
        self.sum.merge(part, counted)

    def resume(
        self,
        sums: Sums,
        aside: frozenset[Key],
        rows: Sequence[StoredStatistics],
        counts: Mapping[Key, Mapping[str, int]],
        take_over: Callable[[], None],
    ) -> None:
        """Instead of `found`: a sum that was kept, in which the parts `aside` are not. rows: of all reports that were
        stored then, payloads left out; counts: what those that can be read hold of each class. take_over: brings in
        what was stored since, which comes before what operators have changed."""
        self._unreadable = [(row.device, row.epoch) for row in rows if row.samples < 0]
        self._review.stored(row.device for row in rows)
        self.sum.resume(sums, by_device({key: some for key, some in counts.items() if key not in aside}))
        self._quarantined = set(aside)
        take_over()
        # an operator may have set some aside since, or readmitted some; `take_over` has seen those that reported
        now = quarantined_in(self._store, self._nothing.space)
        self._put_back(sorted(self._quarantined - now))
        self._take_out(sorted(now - self._quarantined))

    @property
    def quarantined(self) -> frozenset[Key]:
        """Device and epoch of what is set aside."""
        return frozenset(self._quarantined)

    @property
    def held(self) -> frozenset[str]:
        """Devices that an operator set aside."""
        return frozenset(self._held)

    @property
    def aside(self) -> dict[str, bool]:
        """Devices that are set aside as a whole; True where it is for contradicting the others."""
        return {device: row.problem.startswith(SUSPICIOUS) for device, row in self._held.items()}

    def replace(
        self,
        known: StoredStatistics | None,
        row: StoredStatistics,
        old: Statistics | None,
        new: Statistics,
        difference: Difference | None = None,
    ) -> None:
        """`row`, with the tables `new`, is stored in the place of `known` with `old`, None for nothing that could be
        read. difference: of these two."""
        device, epoch = row.device, row.epoch
        self._review.replaced(device, epoch, known)
        self._review.put(device, epoch, new)
        if device in self._held:
            self._hold((device, epoch), old)
            return
        if (device, epoch) in self._quarantined:
            self._release((device, epoch))
            old = difference = None
        self.sum.replace(device, old, new, difference)
        self._unproven[device, epoch] = None

    def merge(self, part: PartialSum, counts: Iterable[tuple[Key, Mapping[str, int], Mapping[str, int]]]) -> None:
        """Reports of devices that do not stand `apart` were stored elsewhere. counts: of each, before and after."""
        every = [*counts]
        self.sum.merge(part, [(device, before, after) for (device, _), before, after in every])
        for key, _, _ in every:
            self._review.changed(key[0])
            self._unproven[key] = None

    @property
    def apart(self) -> frozenset[str]:
        """Devices whose reports have to come one by one, through `replace`."""
        return self.sum.apart | self._held.keys() | {device for device, _ in self._quarantined}

    def left(self, device: str, tables: Statistics) -> None:
        """A device is out of the store. tables: what counted of it until then, see `counted`."""
        self._quarantined = {key for key in self._quarantined if key[0] != device}
        self._unproven = {key: None for key in self._unproven if key[0] != device}
        self._held.pop(device, None)
        self._verdicts.pop(device, None)
        self._review.left(device)
        self.sum.replace(device, tables, None)

    @property
    def goes_on_at_s(self) -> float:
        """When the comparison of devices goes on, see `Review.goes_on_at_s`, or what follows from it."""
        return self._next_at_s if self._verdicts else self._review.goes_on_at_s

    def follow(self, now: Instant, idle: bool = False) -> bool:
        """Set aside who contradicts the others, and count again who no longer does; then `follow_operators`. Whether
        anything changed. idle: no messages wait.

        A verdict is about what a device told by the moment at which the comparison began. What it told since changes
        nothing: it comes to the same as if all had been compared at once, and that had come later.
        """
        if not self._verdicts:
            self._verdicts = dict(self._review.look(now, self.sum, idle))
            self._next_at_s = now.monotonic_s
        if idle or now.monotonic_s >= self._next_at_s:
            self._carry_out(now)
        return self.follow_operators()

    def _carry_out(self, now: Instant) -> None:
        """As many verdicts as a step takes."""
        spent_s = 0.0
        while self._verdicts and spent_s < self._step_s:
            device = next(iter(self._verdicts))
            finding, held = self._verdicts.pop(device), self._held.get(device)
            if held is None and finding.named:
                note = put_aside(self._store, device, finding.words(), now.wall_s, self._events_max)
            elif held is not None and finding.back and held.problem.startswith(SUSPICIOUS):
                note = count_again(self._store, device, finding.words(), now.wall_s, self._events_max)
            else:
                continue
            spent_s += VERDICT_S + 2 * (READ_S + READ_NUMBER_S * self._nothing.gram.size)
            self._notes += [] if note is None else [note]
        self._next_at_s = now.monotonic_s + spent_s / BUSY_SHARE

    def follow_operators(self) -> bool:
        """Take out what was set aside as a whole, count again what was taken out of quarantine; whether any was."""
        self._held, before = held_in(self._store), self._held
        keys = {key for device in self._held.keys() - before.keys() for key in self._stored_of(device)}
        coming = sorted(keys - self._quarantined)
        for key in coming:
            self._hold(key, self._tables(key))
        free = self._quarantined - quarantined_in(self._store, self._nothing.space)
        for key in sorted(free):
            self._put_back([key])
            self._unproven[key] = None
        return bool(free or coming)

    def head(self, wall_s: float) -> tuple[Head | None, list[Effect]]:
        """The head of all that counts, and what people should know; None where there is none whatever is left out."""
        notes: list[Effect] = [*self._notes, *(_not_counted(key) for key in self._unreadable)]
        self._unreadable, self._notes = [], []
        head, problem = self._solved()
        if head is None:
            culprits = self._culprits()
            if culprits is None:
                return None, [*notes, Note(f"no new head: {problem}, with whatever is left out", warning=True)]
            for key in culprits:
                notes.append(self._set_aside(key, problem, wall_s))
            head, problem = self._solved()
            if head is None:
                return None, [*notes, Note(f"no new head: {problem}", warning=True)]
        self._unproven.clear()
        return head, notes

    def _solved(self) -> tuple[Head | None, str]:
        try:
            return self.sum.head(), ""
        except np.linalg.LinAlgError as error:
            return None, f"the fleet's statistics cannot be solved ({error})"

    def _culprits(self) -> list[Key] | None:
        """Take out the rows with which there is no head, as few as can be told; None, and nothing, where that fails.

        First of those that came since the last good head, then of all.
        """
        rows = self._store.contributions(self._nothing.space)
        every = sorted((row.device, row.epoch) for row in rows if row.samples >= 0)
        every = [key for key in every if key not in self._quarantined]
        newest = [key for key in every if key in self._unproven]
        for suspects in (newest, every):
            self._take_out(suspects)
            if self._solved()[0] is not None:
                return self._unsolvable(suspects)
            self._put_back(suspects)
        return None

    def _unsolvable(self, keys: list[Key]) -> list[Key]:
        """Put back all rows but those with which there is no head, by halves; returns these."""
        if not keys:
            return []
        self._put_back(keys)
        if self._solved()[0] is not None:
            return []
        self._take_out(keys)
        if len(keys) == 1:
            return keys
        half = len(keys) // 2
        return self._unsolvable(keys[:half]) + self._unsolvable(keys[half:])

    def _take_out(self, keys: list[Key]) -> None:
        for key in keys:
            self._quarantined.add(key)
            self.sum.replace(key[0], self._tables(key), None)

    def _put_back(self, keys: list[Key]) -> None:
        for key in keys:
            self._quarantined.discard(key)
            self.sum.replace(key[0], None, self._tables(key))

    def _hold(self, key: Key, counted: Statistics | None) -> None:
        """Set a report of a held device aside; counted: its tables that are in the sum, None for nothing."""
        if key not in self._quarantined:
            held = self._held[key[0]]
            self._quarantined.add(key)
            self._unproven.pop(key, None)
            self._store.rows(QUARANTINED).put(QuarantineRow(*key, held.problem, held.since_s))
            self.sum.replace(key[0], counted, None)

    def _write_down(self) -> None:
        """A row for each report of devices that were set aside as a whole while nobody was there to write it."""
        for device, held in self._held.items():
            for key in self._stored_of(device):
                if self._store.rows(QUARANTINED).get(*key) is None:
                    self._store.rows(QUARANTINED).put(QuarantineRow(*key, held.problem, held.since_s))

    def _stored_of(self, device: str) -> list[Key]:
        return [(row.device, row.epoch) for row in self._store.contributions(self._nothing.space, device)]

    def _set_aside(self, key: Key, problem: str, wall_s: float) -> Note:
        device, epoch = key
        self._unproven.pop(key, None)
        self._store.rows(QUARANTINED).put(QuarantineRow(device, epoch, problem[:PROBLEM_CHARACTERS_MAX], wall_s))
        detail = canonical_json({"epoch": epoch, "problem": problem[:PROBLEM_CHARACTERS_MAX]}).decode()
        self._store.add_event(EventRow(device, "quarantined", detail, wall_s), self._events_max)
        return Note(
            f"{problem} with what {device} reported in epoch {epoch}; it is set aside until the device's next report. "
            f"To count it again: edge-fleet readmit {device}; to forget it: edge-fleet remove {device}",
            warning=True,
        )

    def _release(self, key: Key) -> None:
        self._quarantined.discard(key)
        self._store.rows(QUARANTINED).remove(*key)

    def _tables(self, key: Key) -> Statistics | None:
        row = self._store.statistics(*key)
        return None if row is None or row.space != self._nothing.space else stored_tables(row)

    def counted(self, device: str) -> Statistics:
        """The sum of what is stored of a device and counts."""
        total = self._nothing
        for row in self._store.every_statistics(self._nothing.space, device):
            tables = None if (device, row.epoch) in self._quarantined else stored_tables(row)
            total = total if tables is None else total + tables
        return total


def parts_in(store: Store, space: str) -> frozenset[Key]:
    """Device and epoch of every report of one feature space."""
    return frozenset((row.device, row.epoch) for row in store.contributions(space))


def quarantined_in(store: Store, space: str) -> frozenset[Key]:
    """What is set aside of one feature space, by device and epoch; everything of a device that is set aside as a whole,
    also where nobody has written that down yet, because an operator did it while the service was not running."""
    rows = {(row.device, row.epoch) for row in store.rows(QUARANTINED).all()}
    if not rows:
        return frozenset()
    return frozenset(part for part in parts_in(store, space) if part in rows or (part[0], EVERY_EPOCH) in rows)


def held_in(store: Store) -> dict[str, QuarantineRow]:
    """The devices that operators set aside, with the row that says so."""
    return {row.device: row for row in store.rows(QUARANTINED).where(epoch=EVERY_EPOCH)}


def by_device(counts: Mapping[Key, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Samples by class of each device, over its epochs."""
    totals: dict[str, dict[str, int]] = {}
    for (device, _), some in counts.items():
        total = totals.setdefault(device, {})
        for name, count in some.items():
            total[name] = total.get(name, 0) + count
    return totals


def _not_counted(key: Key) -> Note:
    problem = f"the stored report of {key[0]}, epoch {key[1]} holds tables that no samples can have made"
    return Note(f"{problem}; it is not counted. Remove the device, or wait for its next report", warning=True)
