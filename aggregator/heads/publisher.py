"""Publishes the fleet's head: decides when one is due, computes it by the chosen method, numbers its version.

Versions only grow, also over a lost store: the retained head on the broker shows how far they had come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aggregator.effects import Effect, Instant, Note
from aggregator.heads.averaging import Contribution, average
from aggregator.heads.class_list import ClassList
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.told_sum import ToldSum
from aggregator.policy import Method, Policy
from aggregator.store import Store, StoredHead, StoredStatistics
from headway.arrays import Float32
from headway.bundle import Variant, fold_frozen_head, head_over_codes, target_scale, weights_over_unit_codes
from headway.errors import BundleError, RemoteError
from headway.maths import Head, Statistics, Task
from headway.ports import Outgoing
from headway.wire import (
    ALL,
    MESSAGE_BYTES_MAX,
    TENSORS_TYPE,
    VERSION_MAX,
    VERSION_STEP_MAX,
    Kind,
    PublishedHead,
    StatisticsReport,
    Update,
    may_go_on_from,
    topic,
)

HEAD_OVERHEAD_BYTES = 8 * 1024
VERSION_FLOOR = "version_floor"
AVERAGED_SAMPLES = "averaged_samples"
# how long an aggregator without any head waits, once it is connected, to learn whether the broker retains one
RETAINED_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class FleetModel:
    """What the aggregator needs of a bundle.

    training_statistics: of the original training data; start: the frozen head over codes, where averaging begins.
    task: what the model is for; scale: units of its outputs, float32 (C,), None for 1 (`headway.bundle.head_weights`).
    """

    training_statistics: Statistics
    start: Head
    task: Task = Task.CLASSIFICATION
    scale: Float32 | None = None

    @classmethod
    def of(cls, variant: Variant) -> FleetModel:
        """The model of a bundle."""
        start = fold_frozen_head(variant.frozen_head, variant.features)
        return cls(variant.training_statistics, start, variant.task, target_scale(variant))

    @property
    def space(self) -> str:
        """Fingerprint of the feature space."""
        return self.training_statistics.space

    def classes_max(self) -> int:
        """Classes for which a head still fits one message: d + 1 float32 each."""
        return (MESSAGE_BYTES_MAX - HEAD_OVERHEAD_BYTES) // (4 * (self.training_statistics.size + 1))


class HeadPublisher:
    """Holds the running sum and the buffered round. Every method must run inside a transaction of the store.

    Raises BundleError when this bundle's head cannot be published by the chosen method.
    """

    def __init__(self, fleet: str, model: FleetModel, policy: Policy, store: Store) -> None:
        self._topic = topic(fleet, ALL, Kind.HEAD)
        self._model, self._policy, self._store = model, policy, store
        self.sum = FleetSum(model.training_statistics, policy.shrinkage)
        classes = model.training_statistics.classes
        self.classes = ClassList(classes, policy.limits, min(policy.limits.classes_max, model.classes_max()))
        self.told = ToldSum(model.training_statistics, policy, store, self.classes)
        # such versions were stored by releases that went on from any number
        store.remove_heads_after(VERSION_MAX + VERSION_STEP_MAX)
        self._unreadable: list[str] = []
        for row in store.every_statistics(model.space):
            report = stored_report(row)
            if report is None:
                self._unreadable.append(f"{row.device}, epoch {row.epoch}")
            else:
                self.sum.replace(None, report.statistics)
                self.classes.put(row.device, row.epoch, report.statistics)
                self.told.found(row, report.statistics)
        self.told.settle()
        self.changed = store.contributor_count(model.space) > 0
        self._waiting = sum(1 for _ in store.updates(model.space))
        self._waiting_since_s: float | None = None
        self._published_at_s: float | None = None
        self._asking = self._foreign = False
        self._asked_at_s: float | None = None
        if policy.method is Method.EXACT and model.task is not Task.CLASSIFICATION:
            raise BundleError(f"this bundle is a {model.task} model; it has no exact statistics; set method = average")
        if len(model.training_statistics.classes) > model.classes_max():
            raise BundleError(f"a head of {len(model.training_statistics.classes)} classes does not fit one message")

    @property
    def version(self) -> int:
        """The highest version known to be published; 0 before the first."""
        newest, floor = self._store.head(), self._store.number(VERSION_FLOOR)
        return max(floor if floor <= VERSION_MAX else 0, 0 if newest is None else newest.version)

    @property
    def asking(self) -> bool:
        """Whether it is not known yet which head the broker retains, and so whether the store was lost."""
        return self._asking

    def ask(self) -> None:
        """Publish nothing before it is known which head the broker retains, if the store knows of none: versions that
        were published must not come again. `retained` or `answered` end it, or RETAINED_WAIT_S of a connection."""
        self._asking = self.version == 0

    def answered(self) -> None:
        """What the broker retained has come."""
        self._asking = False

    def replace(self, old: Statistics | None, new: Statistics | None) -> None:
        """Exchange one contribution to the sum, None for none, see `FleetSum.replace`."""
        self.sum.replace(old, new)
        self.changed = True

    def contributors_changed(self) -> None:
        """A device was removed, whether or not it had statistics in this space."""
        self.changed = True

    def update_stored(self) -> None:
        """One more gradient update waits."""
        self._waiting += 1

    def due(self, now: Instant) -> bool:
        """True when something changed and the last head is old enough."""
        if self._asking and (self._asked_at_s is None or now.monotonic_s - self._asked_at_s < RETAINED_WAIT_S):
            return False
        since_s = float("inf") if self._published_at_s is None else now.monotonic_s - self._published_at_s
        if since_s < self._policy.publish_interval_s:
            return False
        if self._foreign:
            return True
        if self._policy.method is Method.EXACT:
            return self.changed
        if self._waiting and self._waiting_since_s is None:
            self._waiting_since_s = now.monotonic_s
        policy = self._policy.averaging
        overdue = self._waiting_since_s is not None and now.monotonic_s - self._waiting_since_s >= policy.round_s
        return self._waiting >= policy.updates_min or (self._waiting > 0 and overdue)

    def publish(self, now: Instant) -> list[Effect]:
        """Make, store and hand out the next head."""
        if self._foreign and not self._has_news():
            return self._replace_foreign(now)
        self._foreign, version = False, self.version + 1
        notes, self._unreadable = [_set_aside(name) for name in self._unreadable], []
        try:
            head = self._average(version) if self._policy.method is Method.AVERAGE else self._solve(version)
        except np.linalg.LinAlgError as error:
            self._published_at_s, self.changed = now.monotonic_s, False
            return [*notes, Note(f"no new head: the fleet's statistics cannot be solved ({error})", warning=True)]
        payload = head.encode()
        row = StoredHead(version, head.method, self._model.space, payload, now.wall_s)
        self._store.put_head(row, self._policy.limits.heads_kept_max)
        self._published_at_s, self.changed = now.monotonic_s, False
        note = Note(f"head {version} ({head.method}) from {head.devices} devices, {head.samples} samples")
        return [self._message(payload), note, *notes]

    def _has_news(self) -> bool:
        """Whether there is a new head to make, so that nothing old need be repeated."""
        return self.changed if self._policy.method is Method.EXACT else self._waiting > 0

    def _replace_foreign(self, now: Instant) -> list[Effect]:
        """Put this fleet's newest head, or nothing before the first, in the place of one that is not of this fleet."""
        self._foreign, self._published_at_s = False, now.monotonic_s
        return self.again() or [Outgoing(self._topic, b"", retain=True)]

    def connected(self, now: Instant) -> None:
        """The broker is there and can be asked."""
        if self._asked_at_s is None:
            self._asked_at_s = now.monotonic_s

    def again(self) -> list[Effect]:
        """The newest head once more, for a broker that may have lost what it retained."""
        newest = self._store.head(self._model.space, self._policy.method)
        return [] if newest is None else [self._message(newest.payload)]

    def retained(self, payload: bytes) -> list[Effect]:
        """A head on the fleet's topic. If it is newer than the store's, the store was lost: go on from there.

        One that no aggregator of this fleet can have published is replaced, see `_replace_foreign`.
        """
        self.answered()
        if self._store.has_head(payload):
            return []
        try:
            version = PublishedHead.decode(payload).version
        except RemoteError as error:
            return self._found_foreign(f"cannot be read ({error})")
        known = self.version
        if version == known == self._store.number(VERSION_FLOOR):
            # the one that was gone on from, once more
            return []
        if version <= known:
            return self._found_foreign(f"has version {version} and is none of those kept here")
        if not may_go_on_from(version, known):
            return self._found_foreign(f"has version {version}, which cannot follow version {known}")
        self._store.put_number(VERSION_FLOOR, version)
        self.changed = True
        self.told.store_went_back()
        return [Note(f"the broker retains head {version}, newer than the store; versions go on from it", warning=True)]

    def _found_foreign(self, problem: str) -> list[Effect]:
        """Have a head that is not of this fleet replaced, at the pace at which heads are published; say so once."""
        said, self._foreign = self._foreign, True
        text = f"the head on {self._topic} {problem}; it is replaced. Let nobody but the aggregator write there"
        return [] if said else [Note(text, warning=True)]

    def _solve(self, version: int) -> PublishedHead:
        devices = self._store.contributor_count(self._model.space)
        head = self.classes.published(self.sum.head())
        return PublishedHead(version, "exact", self._model.space, devices, self.sum.samples, head)

    def _average(self, version: int) -> PublishedHead:
        """One round over every update that waits; this transaction takes them in, so none counts twice."""
        newest = self._store.head(self._model.space, Method.AVERAGE)
        base = self._model.start if newest is None else PublishedHead.decode(newest.payload).head
        devices: set[str] = set()
        contributions: list[Contribution] = []
        for row in self._store.updates(self._model.space):
            update = Update.decode(row.payload)
            devices.add(update.device)
            staleness = max(0, version - 1 - update.base_version)
            contributions.append(Contribution(update.delta, update.samples, staleness))
        weights = average(weights_over_unit_codes(base, self._model.scale), contributions, self._policy.averaging)
        self._store.remove_updates(self._model.space)
        self._waiting, self._waiting_since_s = 0, None
        samples = sum(contribution.samples for contribution in contributions)
        self._store.put_number(AVERAGED_SAMPLES, self._store.number(AVERAGED_SAMPLES) + samples)
        head = head_over_codes(weights, base.classes, self._model.task.link, self._model.scale)
        return PublishedHead(version, "average", self._model.space, len(devices), samples, head)

    def _message(self, payload: bytes) -> Outgoing:
        return Outgoing(self._topic, payload, retain=True, content_type=TENSORS_TYPE)


def stored_report(row: StoredStatistics) -> StatisticsReport | None:
    """A report that was stored before; None for one that an earlier version took and this one refuses.

    Such a one was never added to the running sum of this process, and is replaced by the device's next report.
    """
    try:
        return StatisticsReport.decode_stored(row.payload)
    except RemoteError:
        return None


def _set_aside(name: str) -> Note:
    problem = f"the stored report of {name} holds tables that no samples can have made; it is not counted"
    return Note(f"{problem}. Remove the device, or wait for its next report", warning=True)
