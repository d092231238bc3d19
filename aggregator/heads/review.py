"""Looks at the devices of a feature space together, now and then: who contradicts the others, and who no longer does.

Of the devices that reported last, `devices_max` at most, a portrait each is kept in memory (`portraits.Portrait`), made
of a few reports together as they come. After a start they are made of the stored reports, a few each second.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np

from aggregator.effects import Instant
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.outliers import Outliers
from aggregator.heads.portraits import NUMBERS_TOGETHER, Finding, Portrait, joined_portrait
from aggregator.heads.stored_reports import stored_tables
from aggregator.policy import Method, Policy
from aggregator.store import Store
from headway.maths import Statistics, merge

# stored reports that are read in a second after a start: so many numbers of their tables
NUMBERS_PER_LOOK = 50_000
# what comparisons may take of a core, by what it takes to read a number of a stored table and to compare it (2 ms for
# 320 features): they follow each other as much more slowly as they are more work. Reckoned, so the same everywhere
CORE_SHARE, NUMBER_S = 0.1, 20e-9


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
        self._changed = True
        self._stale[device] = None
        self._stale.move_to_end(device)
        while len(self._stale) > self._policy.devices_max:
            self._stale.popitem(last=False)

    def left(self, device: str) -> None:
        """The device is out of the store."""
        self._pending.pop(device, None)
        self._stale.pop(device, None)
        self._make_portraits()
        if self._portraits.pop(device, None) is not None:
            self._changed = True

    def look(self, now: Instant, counted: FleetSum) -> Mapping[str, Finding]:
        """What is found of every device, when it is time to look and something changed; else nothing."""
        self._read_some()
        waited_s = now.monotonic_s - self._looked_at_s
        if not self._changed or self._pending or waited_s < self._pause_s:
            return {}
        self._changed, self._looked_at_s = False, now.monotonic_s
        self._make_portraits()
        whole = {device: joined_portrait(parts.values()) for device, parts in self._portraits.items()}
        if sum(bool(portrait.counts.any()) for portrait in whole.values()) < self._policy.devices_min:
            return {}
        weights = {device: counted.weight(device) for device in whole if counted.contains(device)}
        try:
            return self._outliers.judge(whole, weights, counted.weighed, self._tables)
        except np.linalg.LinAlgError:
            # who makes such a sum is found when a head is solved
            return {}
        finally:
            self._pause_s = max(self._policy.interval_s, self._outliers.numbers_read * NUMBER_S / CORE_SHARE)

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

    def _tables(self, device: str) -> Statistics:
        """The sum of what is stored of a device."""
        stored = (stored_tables(row) for row in self._store.every_statistics(self._nothing.space, device))
        readable = [tables for tables in stored if tables is not None]
        if len(readable) == 1 and readable[0].classes == self._nothing.classes:
            # as most have it: nothing to add up
            return readable[0]
        return merge([self._nothing, *readable])
