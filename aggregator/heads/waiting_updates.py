"""The gradient updates that wait for a round, and their sum, which is kept while they come.

A round weighs each device by what all of them sent: samples and lengths at the upper quartile, who is set aside, whose
update is stale. Each update is added when it comes, with the weight that it has if none of that lowers it; the longest
are held in memory first (`LongestUpdates`), and added when others are longer or at the round. At the round those whose
weight turned out to be another are read, taken out if they were added, and added anew; where these are most of them,
all are read instead. The sum is exact (`ExactSum`): to the bit that of a server that reads all of them. Nothing of
this is stored: after a restart, after a round that left some waiting, or where the store holds other updates than came
here, each is read once, as if it came then: a few at a time while nothing is due, the rest at the round.

A device with several updates in a round is read at the round, because its weight depends on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from copy import deepcopy
from dataclasses import dataclass, replace
from heapq import merge
from itertools import groupby
from operator import itemgetter

import numpy as np

from aggregator.heads.averaging import (
    NO_OTHERS,
    Contribution,
    Gathered,
    Measure,
    Weights,
    freshened,
    freshness,
    length_of,
    merged,
    shortened,
)
from aggregator.heads.exact_sum import ExactSum
from aggregator.heads.longest_updates import BYTES_MAX, LongestUpdates
from aggregator.heads.other_heads import OtherHeads
from aggregator.heads.sketches import Sketch
from aggregator.policy import AveragingPolicy, Limits, Robust
from aggregator.store import Store, StoredUpdate
from headway.arrays import Float32, Float64
from headway.errors import LocalError, RemoteError
from headway.maths import Head
from headway.wire import Precision, Update

# epoch and sequence of an update
Key = tuple[int, int]
# of stored updates that are read at a time while no round is due: 50 ms of a processor
WEIGHTS_AT_A_TIME = 4_000_000


@dataclass(frozen=True, slots=True)
class Known:
    """The first update of a device that waits. fresh: s(t) of its contribution; norm: the length of that; sketch: of
    it, none where no rule compares devices."""

    key: Key
    samples: int
    base_version: int
    fresh: float
    norm: float
    precision: Precision
    sketch: Float32 | None


class WaitingUpdates:
    """Of one feature space. Every method must run inside a transaction of the store.

    start: the bundle's head; held_bytes_max: of the longest updates; heads_kept_max: how many heads the store keeps of
    each space.
    """

    def __init__(
        self,
        store: Store,
        start: Head,
        space: str,
        policy: AveragingPolicy,
        held_bytes_max: int = BYTES_MAX,
        heads_kept_max: int = Limits().heads_kept_max,
    ) -> None:
        self._heads_kept_max = heads_kept_max
        self._store, self._space, self._policy, self._classes = store, space, policy, start.classes
        self._shape = len(start.classes), len(start.kernel) + 1
        # whose updates are stored; known are those that were looked at, too
        self._devices = {device for device, _, _ in store.update_keys(space)}
        self._known: dict[str, Known] = {}
        # which of them may be unknown, the last one is looked at first
        self._unread = sorted(self._devices, reverse=True)
        # of those that are in the sum: what their updates are multiplied with in it
        self._added: dict[str, float] = {}
        self._sum = ExactSum(self._shape, policy.samples_max * policy.clip_norm)
        self._longest = LongestUpdates(self._shape, policy, held_bytes_max)
        self._others: tuple[int, OtherHeads] | None = None
        self._sketch = None if policy.robust is Robust.NONE else Sketch(self._shape[0] * self._shape[1])

    @property
    def devices(self) -> set[str]:
        """Whose updates wait. Not to be changed."""
        return self._devices

    def add(self, update: Update, newest: int) -> None:
        """An update was stored. newest: version of the newest head."""
        if update.device not in self._devices:
            self._devices.add(update.device)
            self._add(update, newest + 1)

    def read_some(self, newest: int, held: Set[str]) -> None:
        """Add some of the updates that wait and were not looked at, so that the round need not read them. newest:
        version of the newest head; held: devices that are left to the round."""
        most = max(1, WEIGHTS_AT_A_TIME // (self._shape[0] * self._shape[1]))
        some: list[str] = []
        while self._unread and len(some) < most:
            device = self._unread.pop()
            if device in self._devices and device not in self._known and device not in held:
                some.append(device)
        for _, rows in self._read(some) if some else ():
            updates = [self._usable(row, []) for row in rows]
            # several are merged at the round, which also tells of those that cannot be used
            if len(updates) == 1 and updates[0] is not None:
                self._add(updates[0], newest + 1)

    def left(self, device: str) -> None:
        """The device is out of the store."""
        self._devices.discard(device)
        if device in self._known and self._forget(device):
            self.begin_anew()  # before it may send again, under the same numbers even

    def taken_in(self, rest: frozenset[str]) -> None:
        """All were taken in by a round, but for those of the devices `rest`."""
        self._devices &= rest
        self.begin_anew()
        if self._sketch is not None:
            self._sketch = Sketch(self._shape[0] * self._shape[1])  # other signs in each round

    def gather(self, version: int, held: frozenset[str], devices_max: int | None) -> RoundUpdates:
        """The contributions of a round that makes the head `version`, one of each device, by its name.

        held: devices whose updates go on waiting; devices_max: after so many, all others', too.
        """
        stored: dict[str, list[Key]] = {}
        for device, *key in self._store.update_keys(self._space):
            stored.setdefault(device, []).append((key[0], key[1]))
        self._devices = set(stored)
        gone = [device for device, one in self._known.items() if one.key not in stored.get(device, ())]
        if any(self._forget(device) for device in gone):
            self.begin_anew()  # what was taken out of the store cannot be subtracted
        wanted = [device for device in stored if device not in held]
        wanted, rest = wanted[:devices_max], wanted[len(wanted) if devices_max is None else devices_max :]
        now = {base: self._freshness(base, version) for base in {one.base_version for one in self._known.values()}}
        stale = [name for name, one in self._known.items() if now[one.base_version] != one.fresh]
        if any(self._forget(device) for device in stale):
            self.begin_anew()  # added for a round before others published
        several = {device for device in wanted if len(stored[device]) > 1}
        measures: dict[str, Measure] = {}
        sketches: dict[str, Float32 | None] = {}
        unusable: list[str] = []
        for device, rows in self._read([name for name in wanted if name in several or name not in self._known]):
            updates = [update for update in (self._usable(row, unusable) for row in rows) if update is not None]
            if device in several and updates:
                one = merged(updates, version, self._policy, self.others(version))
                measures[device] = Measure(one.samples, length_of(one.delta))
                sketches[device] = self._sketched(one.delta)
            elif updates:
                self._add(updates[0], version)
        singly = {device for device in wanted if device not in several and device in self._known}
        for device in singly:
            measures[device] = Measure(self._known[device].samples, self._known[device].norm)
            sketches[device] = self._known[device].sketch
        taken = {device: measures[device] for device in wanted if device in measures}
        return RoundUpdates(self, version, taken, sketches, frozenset(singly), frozenset(rest), unusable)

    def contributions(self, version: int, devices: Sequence[str]) -> Iterator[Contribution]:
        """What these devices sent for the head `version`, read from the store; nothing of those that sent nothing."""
        for device, rows in self._read(devices):
            updates = [update for update in (self._usable(row, []) for row in rows) if update is not None]
            if updates:
                yield replace(merged(updates, version, self._policy, self.others(version)), device=device)

    def sum_of(self, factors: Mapping[str, float], singly: Set[str], version: int) -> Float64:
        """The sum of contributions, each times its factor. singly: devices whose contribution is one update."""
        wanted = {device: factors.get(device, 0.0) if device in singly else 0.0 for device in self._known}
        if sum(factor != self._added.get(device, 0.0) for device, factor in wanted.items()) > len(factors):
            self._sum.clear()
            self._added.clear()
        self._weigh(wanted)
        merely = [device for device, factor in factors.items() if factor and device not in singly]
        total = deepcopy(self._sum) if merely else self._sum
        for one in self.contributions(version, sorted(merely)):
            total.add(one.delta, factors[one.device])
        return total.value()

    def _weigh(self, factors: Mapping[str, float]) -> None:
        """Let these devices' updates, which are known, be in the sum with these factors."""
        changed = [device for device, factor in factors.items() if factor != self._added.get(device, 0.0)]
        for device, delta in self.deltas(sorted(changed)):
            before, factor = self._added.pop(device, 0.0), factors[device]
            if before:
                self._sum.subtract(delta, before)
            if factor:
                self._sum.add(delta, factor)
                self._added[device] = factor

    def deltas(self, devices: Sequence[str]) -> Iterator[tuple[str, Float32]]:
        """The first update of each of these devices, which are known, in ascending order, times its s(t).

        Raises LocalError for one that cannot be read any more: the next round looks at all of them again.
        """
        held = [(device, delta) for device in devices if (delta := self._longest.get(device)) is not None]
        there = {device for device, _ in held}
        again = self._read_again([device for device in devices if device not in there])
        yield from merge(held, again, key=itemgetter(0))

    def _read_again(self, devices: Sequence[str]) -> Iterator[tuple[str, Float32]]:
        """The same from the store."""
        for row in self._store.updates(self._space, devices):
            known = self._known[row.device]
            if (row.epoch, row.sequence) == known.key:
                try:
                    delta = Update.delta_of(row.payload, self._shape, known.precision)
                except RemoteError as error:
                    self.begin_anew()
                    raise LocalError(f"update {row.sequence} of {row.device} cannot be read again: {error}") from error
                yield row.device, freshened(delta, known.fresh)

    def others(self, version: int) -> OtherHeads:
        """Heads of other spaces."""
        if self._others is None or self._others[0] != version:
            self._others = version, OtherHeads.stored(self._store, self._space, self._heads_kept_max)
        return self._others[1]

    def begin_anew(self) -> None:
        """Forget the sum: each update is read when the next round needs it, or before."""
        self._unread = sorted(self._devices, reverse=True)
        self._known.clear()
        self._added.clear()
        self._sum.clear()
        self._longest.clear()

    def _add(self, update: Update, version: int) -> None:
        """Into memory, and from there into the sum, with the weight that it has unless the round lowers it."""
        policy, fresh = self._policy, self._freshness(update.base_version, version)
        delta = freshened(update.delta, fresh)
        norm = length_of(delta)
        key, sketch = (update.epoch, update.sequence), self._sketched(delta)
        self._known[update.device] = Known(
            key, update.samples, update.base_version, fresh, norm, update.precision, sketch
        )
        for device, one in self._longest.put(update.device, norm, delta):
            if device not in self._added:
                known = self._known[device]
                factor = min(known.samples, policy.samples_max) * shortened(known.norm, policy.clip_norm)
                self._sum.add(one, factor)
                self._added[device] = factor

    def _forget(self, device: str) -> float:
        """The device is not known any more; what its update is multiplied with in the sum."""
        self._longest.drop(device)
        del self._known[device]
        return self._added.pop(device, 0.0)

    def _sketched(self, delta: Float32) -> Float32 | None:
        return None if self._sketch is None else self._sketch.of(delta)

    def _freshness(self, base_version: int, version: int) -> float:
        others = NO_OTHERS if base_version >= version - 1 else self.others(version)
        return freshness(base_version, version, self._policy, others)

    def _read(self, devices: Sequence[str]) -> Iterator[tuple[str, Iterator[StoredUpdate]]]:
        """The stored updates of these devices, in ascending order."""
        return groupby(self._store.updates(self._space, devices), key=lambda row: row.device)

    def _usable(self, row: StoredUpdate, unusable: list[str]) -> Update | None:
        try:
            update = Update.decode(row.payload)
        except RemoteError as error:
            unusable.append(f"update {row.sequence} of {row.device}: {error}")
            return None
        if update.classes != self._classes or update.delta.shape != self._shape:
            unusable.append(f"update {row.sequence} of {row.device}: the bundle has other classes now")
            return None
        return update


class RoundUpdates(Gathered):
    """The contributions of one round, until the next update is added.

    singly: devices whose contribution is one update; rest: those that had no place; unusable: updates that were left
    out, and why: they cannot be read, or are of a bundle before this one, in the same space with other classes.
    """

    def __init__(
        self,
        waiting: WaitingUpdates,
        version: int,
        measures: Mapping[str, Measure],
        sketches: Mapping[str, Float32 | None],
        singly: frozenset[str],
        rest: frozenset[str],
        unusable: Sequence[str],
    ) -> None:
        self._waiting, self._version, self._measures, self._singly = waiting, version, measures, singly
        self._sketches = sketches
        self.devices, self.rest, self.unusable = [*measures], rest, unusable

    def __iter__(self) -> Iterator[Contribution]:
        one = self._waiting.deltas([device for device in self.devices if device in self._singly])
        several = self._waiting.contributions(
            self._version, [device for device in self.devices if device not in self._singly]
        )
        for device in self.devices:
            if device in self._singly:
                yield Contribution(next(one)[1], self._measures[device].samples, device=device)
            else:
                yield next(several)

    def measures(self) -> list[Measure]:
        return [*self._measures.values()]

    def sketches(self) -> Float32:
        found = [sketch for device in self.devices if (sketch := self._sketches[device]) is not None]
        return np.stack(found) if found else super().sketches()

    def total(self, worth: Weights) -> Float64:
        if not self.devices:
            raise LocalError("an average needs at least one contribution")
        factors = dict(zip(self.devices, worth.factors, strict=True))
        return self._waiting.sum_of(factors, self._singly, self._version)
