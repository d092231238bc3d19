"""Looks at the devices of a feature space together, now and then: who contradicts the others, and who no longer does.

Of the devices that reported last, `devices_max` at most, a portrait each is kept in memory (`portraits.Portrait`), made
of a few reports together as they come. After a start they are made of the stored reports, a few each second.

A comparison is of what the fleet held at one moment, and goes on in steps, between which reports are taken in: of these
nothing is seen before the next one (`frozen_reports`). So its verdicts are those of a comparison made at once, then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np

from aggregator.effects import Instant
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.frozen_reports import FrozenReports
from aggregator.heads.outliers import Outliers
from aggregator.heads.portraits import NUMBERS_TOGETHER, Finding, Portrait, joined_portrait
from aggregator.heads.steps import Work
from aggregator.heads.stored_reports import stored_tables
from aggregator.policy import Method, Policy
from aggregator.store import Store, StoredStatistics
from headway.maths import Statistics

# stored reports that are read in a second after a start: so many numbers of their tables
NUMBERS_PER_LOOK = 50_000
# what comparisons may take of a core: they follow each other as much more slowly as they are more work; and what a step
# may take of it while messages wait
CORE_SHARE, BUSY_SHARE = 0.1, 0.05
# of payloads that are kept of devices that report meanwhile; above it the rest is done at once, however busy it is
KEPT_BYTES_MAX = 64 << 20


class Review:
    """Every method must run inside a transaction of the store."""

    def __init__(self, source: Statistics, policy: Policy, store: Store) -> None:
        self._nothing = Statistics.zeros(source.size, source.classes, source.space)
        self._policy, self._store = policy.outliers, store
        self._outliers = Outliers(source, policy.shrinkage)
        # by device, the one that reported last at the end; then by epoch
        self._portraits: OrderedDict[str, dict[int, Portrait]] = OrderedDict()
        # tables of the newest reports, of which portraits are made together
        self._coming: dict[tuple[str, int], Statistics] = {}
        self._together = max(1, NUMBERS_TOGETHER // len(self._nothing.gram) ** 2)
        self._pending: dict[str, None] = {}
        # whose portraits are of an earlier report, because another process took the newest: read when there is time
        self._stale: OrderedDict[str, None] = OrderedDict()
        self._changed = False
        # the comparison at hand; what it compares; when it goes on
        self._work: Work[dict[str, Finding]] | None = None
        self._frozen: FrozenReports | None = None
        self._goes_on_at_s = float("inf")
        # whether nobody else stores reports: of what others replace nothing is left
        self._alone = True
        self._looked_at_s, self._pause_s = float("-inf"), policy.outliers.interval_s
        # targets are no classes, and one class tells nothing of labels
        known = len(source.classes) > 1 and source.samples > 0
        # in a fleet that averages, updates decide who is set aside (`update_review`): reports make no head there
        self._enabled = policy.method is Method.EXACT and policy.outliers.devices_min > 0 and known

    def stored(self, devices: Iterable[str]) -> None:
        """Of these devices reports are stored, when the program starts."""
        if self._enabled:
            self._pending |= dict.fromkeys(devices)
            self._changed = True

    def replaced(self, device: str, epoch: int, known: StoredStatistics | None) -> None:
        """A report was stored in the place of `known`, None for nothing."""
        if self._frozen is None:
            return
        if known is not None and not known.payload and device in self._frozen:
            self._give_up()
        else:
            self._frozen.replaced(device, epoch, known)

    def put(self, device: str, epoch: int, tables: Statistics) -> None:
        """The newest report of an epoch."""
        if not self._enabled:
            return
        self._changed = True
        if device in self._pending:
            # all its epochs will be read
            return
        self._coming.pop((device, epoch), None)
        self._coming[device, epoch] = tables
        # what cannot be written to lies where the next report is to be read (`aggregator.readers`): it is not kept
        if len(self._coming) >= self._together or not tables.gram.flags.writeable:
            self._make_portraits()

    def changed(self, device: str) -> None:
        """Another process has stored a report of the device."""
        if not self._enabled:
            return
        self._changed, self._alone = True, False
        if self._frozen is not None and device in self._frozen:
            self._give_up()
        self._stale[device] = None
        self._stale.move_to_end(device)
        while len(self._stale) > self._policy.devices_max:
            self._stale.popitem(last=False)

    def left(self, device: str) -> None:
        """The device is out of the store."""
        self._pending.pop(device, None)
        self._stale.pop(device, None)
        self._make_portraits()
        if self._frozen is not None and device in self._frozen:
            self._give_up()
        if self._portraits.pop(device, None) is not None:
            self._changed = True

    @property
    def goes_on_at_s(self) -> float:
        """When the comparison at hand goes on while messages wait, by the monotonic clock; while none do, at once.
        Infinite where there is none."""
        return float("inf") if self._work is None else self._goes_on_at_s

    def look(self, now: Instant, counted: FleetSum, idle: bool = False) -> Mapping[str, Finding]:
        """Begin to compare, when it is time to and something changed, or go on; what is found of every device, once all
        are compared, else nothing. idle: no messages wait."""
        self._read_some()
        if self._work is None:
            waited_s = now.monotonic_s - self._looked_at_s
            if not self._changed or self._pending or waited_s < self._pause_s:
                return {}
            self._begin(now, counted)
        elif self._may_wait and not idle and now.monotonic_s < self._goes_on_at_s:
            return {}
        return {} if self._work is None else self._go_on(self._work, now)

    @property
    def _may_wait(self) -> bool:
        """Whether what the comparison at hand began with stays there until it ends, in little enough memory."""
        return self._alone and self._frozen is not None and self._frozen.bytes <= KEPT_BYTES_MAX

    def _begin(self, now: Instant, counted: FleetSum) -> None:
        self._changed, self._looked_at_s = False, now.monotonic_s
        self._make_portraits()
        whole = {device: joined_portrait(parts.values()) for device, parts in self._portraits.items()}
        if sum(bool(portrait.counts.any()) for portrait in whole.values()) < self._policy.devices_min:
            return
        weights = {device: counted.weight(device) for device in whole if counted.contains(device)}
        self._frozen = FrozenReports(self._nothing, self._store, whole.keys())
        steps = self._outliers.comparison(whole, weights, counted.weighed, self._frozen.tables)
        self._work = Work(steps)

    def _go_on(self, work: Work[dict[str, Finding]], now: Instant) -> Mapping[str, Finding]:
        before_s = work.spent_s
        try:
            done = work.go_on(self._policy.step_s if self._may_wait else float("inf"))
        except np.linalg.LinAlgError:
            # who makes such a sum is found when a head is solved
            done = ({},)
        if done is None:
            self._goes_on_at_s = now.monotonic_s + (work.spent_s - before_s) / BUSY_SHARE
            return {}
        self._work = self._frozen = None
        self._pause_s = max(self._policy.interval_s, work.spent_s / CORE_SHARE)
        return done[0]

    def _give_up(self) -> None:
        """What the comparison at hand began with is no longer all there: begin anew, when there is time."""
        if self._work is not None:
            self._pause_s = self._work.spent_s / CORE_SHARE
            self._work, self._frozen, self._changed = None, None, True

    def _make_portraits(self) -> None:
        coming, self._coming = self._coming, {}
        if not coming:
            return
        for (device, epoch), portrait in zip(coming, self._outliers.portraits([*coming.values()]), strict=True):
            self._portraits.setdefault(device, {})[epoch] = portrait
            self._portraits.move_to_end(device)
        while len(self._portraits) > self._policy.devices_max:
            self._portraits.popitem(last=False)

    def _read_some(self) -> None:
        for device in [*self._pending, *self._stale][: max(1, NUMBERS_PER_LOOK // len(self._nothing.gram) ** 2)]:
            self._pending.pop(device, None)
            self._stale.pop(device, None)
            for row in self._store.every_statistics(self._nothing.space, device):
                tables = stored_tables(row)
                if tables is not None:
                    self.put(device, row.epoch, tables)
