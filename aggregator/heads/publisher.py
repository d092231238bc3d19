"""Publishes the fleet's head: decides when one is due, computes it by the chosen method, numbers its version.

Versions only grow, also over a lost store: the retained head on the broker shows how far they had come.
"""

from __future__ import annotations

from dataclasses import replace

from aggregator.effects import Effect, Instant, Note
from aggregator.engine import Engine, LocalEngine
from aggregator.heads.class_list import ClassList
from aggregator.heads.contributions import Contributions
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.fleet_sum import FleetSum
from aggregator.heads.given_head import GivenHead
from aggregator.heads.head_gate import HeadGate
from aggregator.heads.head_news import HeadNews
from aggregator.heads.kept_sums import KeptSums, counts_text
from aggregator.heads.other_heads import VERSION_FLOOR
from aggregator.heads.private_heads import PrivateHeads
from aggregator.heads.report_view import ReportView
from aggregator.heads.rounds import Rounds
from aggregator.heads.staging import HeadStaging
from aggregator.heads.told_sum import ToldSum
from aggregator.held_heads import held_version, read_head, taken, waits
from aggregator.policy import Method, Policy
from aggregator.store import Store, StoredHead, StoredStatistics
from headway.errors import BundleError, RemoteError
from headway.maths import Statistics, Task
from headway.ports import Outgoing
from headway.wire import (
    ALL,
    TENSORS_TYPE,
    VERSION_MAX,
    VERSION_STEP_MAX,
    Kind,
    PublishedHead,
    Update,
    may_go_on_from,
    topic,
)

# how long an aggregator without any head waits, once it is connected, to learn whether the broker retains one
RETAINED_WAIT_S = 30.0


class HeadPublisher:
    """Holds the running sum and the buffered round. Every method must run inside a transaction of the store.

    readers: whom the head is for, everybody or those of one feature space. Raises BundleError when this bundle's head
    cannot be published by the chosen method, ConfigError where what noise needs is not installed.
    """

    def __init__(
        self, fleet: str, model: FleetModel, policy: Policy, store: Store, readers: str = ALL,
        engine: Engine | None = None,
    ) -> None:  # fmt: skip
        engine = LocalEngine() if engine is None else engine
        self._given, self._topic = GivenHead(model.space, policy, readers), topic(fleet, readers, Kind.HEAD)
        self._model, self._policy, self._store = model, policy, store
        source, view = model.training_statistics, ReportView(store)
        contributions = self._contributions = Contributions(source, policy, view.store, model.solve)
        most = min(policy.limits.classes_max, model.classes_max())
        self.classes = ClassList(source.classes, policy.limits, most, lambda: contributions.quarantined)
        self.told = ToldSum(source, policy, view.store, self.classes)
        # such versions were stored by releases that went on from any number
        store.remove_heads_after(VERSION_MAX + VERSION_STEP_MAX)
        self._news, self._private = HeadNews(store, model.space, policy), PrivateHeads(store, model, policy)
        least = policy.prior_device_labels_min
        self.kept = KeptSums(source, view, self.classes, contributions, self.told, least, engine)
        self._notes: list[Effect] = [*self.kept.begin()]
        # heads of a space that few devices are in are not tried by fewer
        self._tries = readers == ALL
        self.staging = HeadStaging(fleet, policy.head_trial, store, policy.limits.events_max)
        self._gate = HeadGate(fleet, model, policy, store, self._tries)
        self.changed = self._news.at_once or store.contributor_count(model.space) > 0
        self._held = held_version(store, model.space)
        self._rounds = Rounds(model, policy, store, self._private, lambda: contributions.aside, engine)
        self._published_at_s: float | None = None
        self._asking = self._foreign = False
        self._asked_at_s: float | None = None
        if policy.method is Method.EXACT and model.task is not Task.CLASSIFICATION and model.targets is None:
            raise BundleError(
                f"this bundle is a {model.task} model without statistics of its targets; convert it again, or set "
                "method = average"
            )
        if self.staging.enabled and policy.method is not Method.EXACT:
            raise BundleError("heads are tried first with method = exact only; set [head_trial] share = 0")
        if len(model.classes) > model.classes_max():
            raise BundleError(f"a head of {len(model.classes)} classes does not fit one message")

    @property
    def version(self) -> int:
        """The highest version known to be published; 0 before the first."""
        floor = self._store.number(VERSION_FLOOR)
        return max(floor if floor <= VERSION_MAX else 0, self._store.head_version())

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

    @property
    def sum(self) -> FleetSum:
        """The running sum."""
        return self._contributions.sum

    def put(
        self, known: StoredStatistics | None, row: StoredStatistics, old: Statistics | None, new: Statistics
    ) -> None:
        """Store `row`, with the tables `new`, in the place of `known` with `old`, None for nothing that counts."""
        named = row.device, row.epoch, row.counter, row.space, row.payload
        self._store.put_statistics(row := StoredStatistics(*named, new.samples, counts_text(new)))
        self._news.stored(row.device)
        self.kept.replaced(known, row, old, new)
        self.changed = True

    def given(self, head: PublishedHead) -> None:
        """A parent server has made this head: published here in the place of one of this fleet alone."""
        self._given.give(head, self._newest())

    def take_over(self) -> None:
        """Count what ingest workers stored since the last time."""
        for device in self.kept.take_over():
            self._news.stored(device)
            self.changed = True

    def leaving(self, device: str) -> Statistics:
        """A device is about to be taken out of the store; returns what counts of it, which `left` then takes."""
        self.kept.about_to_remove(device)
        self._news.leaving(device)
        self.told.removed(device)
        self.classes.remove(device)
        return self._contributions.counted(device)

    def left(self, device: str, tables: Statistics) -> None:
        """The device is out of the store."""
        self._contributions.left(device, tables)
        self._rounds.left(device)
        self.changed = True

    def check(self, update: Update) -> int:
        """The version of the newest head. Raises Refused for an update that no round can take in."""
        version = self.version
        self._rounds.check(update, version)
        return version

    def update_stored(self, update: Update, version: int) -> None:
        """A gradient update was stored, and waits. version: the newest head's."""
        self._rounds.stored(update, version)

    def due(self, now: Instant) -> bool:
        """True when something changed and the last head is old enough, or an earlier one is wanted back."""
        if self._held and not self._asking and not self._foreign:
            return waits(self._store, self._model.space)
        if self._tries and self.staging.open and not self._foreign and not self._news.at_once:
            return False
        if self._asking and (self._asked_at_s is None or now.monotonic_s - self._asked_at_s < RETAINED_WAIT_S):
            return False
        since_s = float("inf") if self._published_at_s is None else now.monotonic_s - self._published_at_s
        if since_s < self._policy.publish_interval_s:
            return False
        if self._foreign:
            return True
        if self._given.wanted:
            return self._given.waits
        return self._has_exact_news(now) if self._policy.method is Method.EXACT else self._rounds.due(now)

    def publish(self, now: Instant) -> list[Effect]:
        """Make, store and hand out the next head."""
        if self._foreign and ((self._tries and self.staging.open) or not self._has_news(now)):
            return self._replace_foreign(now)
        self._foreign, version = False, self.version + 1
        if self._held:
            return self._hold(version, now)
        self._published_at_s, self.changed = now.monotonic_s, False
        at_once = self._news.at_once
        made = None
        if self._policy.method is Method.AVERAGE:
            made, notes = self._rounds.close(version, now.wall_s)
            of_round = None if made is None else (made.devices, made.samples, made.head)
            head = None if of_round is None else PublishedHead(version, "average", self._model.space, *of_round)
        else:
            head, notes = self._solve(version, now)
        notes, self._notes = [*self._gate.notice(), *self._notes, *notes], []
        if head is None:
            return notes
        self._news.made()
        if at_once:
            notes = [*self.staging.drop("a device was removed", now), *notes]
            if self._newest() is not None:
                # right without what was taken out, however it compares with one that has it
                return [*self._gate.forget(now), *self._hand_out(head, now), *notes]
        if self._tries and self.staging.enabled:
            return [*self.staging.propose(head, now), *notes]
        refusal = self._gate.refusal(head, self._newest(), now)
        if refusal is not None:
            return [*refusal, *notes]
        if made is not None:
            self._rounds.published(made, version)
        return [*self._hand_out(head, now), *notes]

    def decide(self, now: Instant) -> list[Effect]:
        """Whatever became of heads that are tried, and of the last one that was published."""
        if self._held or (self._news.at_once and not self._private.ended):
            return []
        newest = self._store.head(self._model.space)
        since = max(self._store.number(VERSION_FLOOR), 0 if newest is None else newest.version)
        passed, effects = self.staging.decide(since, self._model.space, now)
        if passed is None and not self.staging.enabled and not self._asking:
            passed, more = self._gate.decide(since, self._newest, now)
            effects = [*effects, *more]
        if passed is None:
            return effects
        # heads of other spaces may have used its version meanwhile
        passed = replace(passed, version=max(passed.version, self.version + 1))
        return [*effects, *self._hand_out(passed, now)]

    def _newest(self) -> PublishedHead | None:
        """The head that is published, None before the first."""
        row = self._store.head(self._model.space, self._policy.method)
        try:
            return None if row is None else read_head(row.payload)
        except RemoteError:
            return None  # stored by a version that wrote heads otherwise

    def _hand_out(self, head: PublishedHead, now: Instant) -> list[Effect]:
        payload = head.encode()
        row = StoredHead(head.version, head.method, self._model.space, payload, now.wall_s)
        self._store.put_head(row, self._policy.limits.heads_kept_max)
        over = self.sum.over_in_words if self._policy.method is Method.EXACT else ""
        made_of = f"{head.devices} devices, {head.samples} samples{over}"
        return [self._message(payload), Note(f"head {head.version} ({head.method}) from {made_of}")]

    def _hold(self, version: int, now: Instant) -> list[Effect]:
        """Publish the head that is held once more; nothing when it is not kept any more."""
        held, head = self._held, taken(self._store, self._model.space, version)
        if head is None:
            return [Note(f"head {held} is not kept any more and cannot be held", warning=True)]
        return [*self._hand_out(head, now), Note(f"head {version} is head {held} again, held for an operator")]

    def _has_news(self, now: Instant) -> bool:
        """Whether there is a new head to make, so that nothing old need be repeated."""
        if self._held:
            return waits(self._store, self._model.space)
        if self._given.wanted:
            return self._given.waits
        return self._has_exact_news(now) if self._policy.method is Method.EXACT else self._rounds.has_news(now)

    def _has_exact_news(self, now: Instant) -> bool:
        """Whether the sum has changed, by enough that the difference says little of one device."""
        return self.changed and self._news.enough and self._private.due(self._news.at_once, now)

    def _replace_foreign(self, now: Instant) -> list[Effect]:
        """Put this fleet's newest head, or nothing before the first, in the place of one that is not of this fleet."""
        self._foreign, self._published_at_s = False, now.monotonic_s
        return self.again() or [Outgoing(self._topic, b"", retain=True)]

    def follow_operators(self, now: Instant, idle: bool = False) -> float:
        """Take out what an operator set aside, count again what one readmitted, hold a head or let it go, and compare
        devices: the result says when that goes on, see `Review.goes_on_at_s`."""
        before, self._held = self._held, held_version(self._store, self._model.space)
        self.changed = self.changed or before > self._held == 0
        self._rounds.read_some(self.version)
        if before > self._held == 0:
            self._gate.begin_anew()
        if self._contributions.follow(now, idle):
            self.told.set_aside(self._contributions.quarantined)
            self.changed = True
        return self._contributions.goes_on_at_s

    def connected(self, now: Instant) -> None:
        """The broker is there and can be asked."""
        if self._asked_at_s is None:
            self._asked_at_s = now.monotonic_s

    def again(self) -> list[Effect]:
        """The newest head once more, for a broker that may have lost what it retained."""
        newest = self._store.head(self._model.space, self._policy.method)
        return [] if newest is None else [self._message(newest.payload)]

    def retained(self, payload: bytes, own: bool = True) -> list[Effect]:
        """A head on the fleet's topic. If it is newer than the store's, the store was lost: go on from there.

        One that no aggregator of this fleet can have published is replaced, see `_replace_foreign`. own: it is on this
        topic; on one of a space that is not served its version alone says something.
        """
        if own:
            self.answered()
        if self._store.has_head(payload):
            return []
        try:
            version = PublishedHead.decode(payload).version
        except RemoteError as error:
            return self._found_foreign(f"cannot be read ({error})") if own else []
        known = self.version
        if version == known == self._store.number(VERSION_FLOOR):
            # the one that was gone on from, once more
            return []
        if not own and not (version > known and may_go_on_from(version, known)):
            return []
        if version <= known:
            return self._found_foreign(f"has version {version} and is none of those kept here")
        if not may_go_on_from(version, known):
            return self._found_foreign(f"has version {version}, which cannot follow version {known}")
        self._store.put_number(VERSION_FLOOR, version)
        self.store_went_back()
        return [Note(f"the broker retains head {version}, newer than the store; versions go on from it", warning=True)]

    def store_went_back(self) -> None:
        """The store was lost, or is of an older day: it knows less than devices were told."""
        self.changed = True
        self.told.store_went_back()
        self._news.store_went_back()

    def spend_unknown(self, known: int, version: int) -> list[Effect]:
        """Heads up to this version were published of which the store does not know: of this space, for all we know."""
        return self._private.spend_unknown(known, version)

    def _found_foreign(self, problem: str) -> list[Effect]:
        """Have a head that is not of this fleet replaced, at the pace at which heads are published; say so once."""
        said, self._foreign = self._foreign, True
        text = f"the head on {self._topic} {problem}; it is replaced. Let nobody but the aggregator write there"
        return [] if said else [Note(text, warning=True)]

    def _solve(self, version: int, now: Instant) -> tuple[PublishedHead | None, list[Effect]]:
        if self._given.wanted:
            return self._given.take(version), []
        if self._private.wanted:
            return self._private.head(version, self.sum, now)
        solved, notes = self._contributions.head(now.wall_s)
        self.told.set_aside(self._contributions.quarantined)
        if solved is None:
            return None, notes
        head = solved if self._model.targets is not None else self.classes.published(solved)
        devices, samples = self._store.contributor_count(self._model.space), self.sum.weighed.samples
        return PublishedHead(version, "exact", self._model.space, devices, samples, head), notes

    def _message(self, payload: bytes) -> Outgoing:
        return Outgoing(self._topic, payload, retain=True, content_type=TENSORS_TYPE)
