"""Simulates the aggregator: the real core and the real service loop on a simulated machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from aggregator.bundle_sender import BundleSender
from aggregator.config import ServiceLimits
from aggregator.core import Aggregator
from aggregator.heads import CANDIDATE, FleetModel
from aggregator.operations import Operator, quarantine_device, readmit_device
from aggregator.policy import Policy
from aggregator.rollouts import begin
from aggregator.service import Service
from aggregator.store import StoredHead, StoredUpdate
from aggregator.store.rows import HEAD_CANDIDATES, HeadCandidateRow
from headway.errors import BundleError, ConfigError, StoreError, UnknownNameError
from headway.maths import Head
from headway.ports import Outgoing, Transport, TransportEvent
from headway.sd_notify import SystemdNotifier
from headway.wire import PublishedHead, StatisticsReport, Update
from headway_simulation.gates import Gates, How, made_of_nothing
from headway_simulation.history import Violation
from headway_simulation.judging import Views, judged
from headway_simulation.ledger import Content, Key
from headway_simulation.lives import Lives
from headway_simulation.machine import Machine, Place
from headway_simulation.network import SimulatedTransport
from headway_simulation.operator import Operator as Commander
from headway_simulation.server_disk import Kept, ServerStore
from headway_simulation.tried_bundle import trial_plan
from headway_simulation.trust import Judgement, Trust
from headway_simulation.under_way import tables_waiting
from headway_simulation.wanted_settings import Wants

NAME = "aggregator"
QUEUE_MAX = 1_000_000
# STEP_S: of a comparison that is done in steps, so that reports come between them
IDLE_S, STEP_S = 60.0, 1.0


@dataclass(frozen=True, slots=True)
class ServerCopy:
    """A copy of the aggregator's disk, and what it means."""

    store: ServerStore
    kept: Kept
    counted: Mapping[Key, Content]
    wants: Wants
    candidate: HeadCandidateRow | None
    trust: Trust
    gates: Gates


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head that is to be tried before it is published, what the fleet counted when it was made, who may have been set
    aside then, which updates its round took in, and the newest head of its space that was published by then."""

    row: HeadCandidateRow
    counted: Mapping[Key, Content]
    aside: Sequence[frozenset[str]]
    averaged: Sequence[StoredUpdate]
    newest: StoredHead | None


@dataclass(frozen=True, slots=True)
class News:
    """A head that was published, and why, with what its transaction kept."""

    stored: StoredHead
    kept: Kept
    how: How


@dataclass(frozen=True, slots=True)
class Shelf:
    """The bundles of the fleet, by feature space. Implements `aggregator.heads.Bundles`."""

    models: Mapping[str, FleetModel]

    def sizes(self) -> Mapping[str, int]:
        return {space: model.training_statistics.size for space, model in self.models.items()}

    def model(self, space: str) -> FleetModel:
        return self.models[space]


class SimulatedServer(Machine):
    """kept: all it was given to keep, by transactions that ended; news: heads that no invariant has seen yet;
    candidates: heads that are to be tried, likewise; lost_store: how often its disk was replaced, by an empty or an
    older one; commits, heads: how many there were."""

    core: Aggregator | None = None
    service: Service | None = None

    def __init__(
        self, place: Place, policy: Policy, check: Callable[[SimulatedServer], None], lives: Lives | None = None
    ) -> None:
        super().__init__(NAME, place, lambda: check(self))
        self._lives = lives or Lives()
        self._ledger = self._lives.ledger
        self.policy = policy
        self._shelf = Shelf({space: FleetModel.of(model.variant) for space, model in place.models.items()})
        self._put: Callable[[TransportEvent], None] = self.inbox.append
        self.kept = Kept()
        self.news: list[News] = []
        self.candidates: list[Candidate] = []
        self._candidate: HeadCandidateRow | None = None
        self.lost_store = self.commits = self.heads = 0
        self._first = {space: made_of_nothing(model, policy) for space, model in self._shelf.models.items()}
        # versions of heads that were the first without a device, which wait for nobody to try them
        self.heads_without: set[int] = set()
        self._removed = False
        self._views = Views(place.models, policy)
        self.store = place.build.server_store(self.power, self._committed)

    def tries_heads_of(self, space: str) -> bool:
        """Whether a new head of a feature space is tried by devices before it is published."""
        return self.policy.head_trial.share > 0 and space == self.place.model.variant.space

    def start_head(self, space: str) -> Head:
        """Where averaging begins."""
        start = self._shelf.model(space).start
        if start is None:
            raise BundleError("this bundle projects its embedding; it cannot be averaged")
        return start

    def copy_disk(self) -> ServerCopy:
        """Copy what is durable."""
        self.trace("is copied")
        lives, counted = self._lives, dict(self._ledger.counted)
        trust, gates = lives.trust.copy(), lives.gates.copy()
        return ServerCopy(
            self.store.copy(), self.kept.copy(), counted, lives.settings.wants, self._candidate, trust, gates
        )

    def wipe(self) -> None:
        """The disk is replaced by an empty one."""
        self.trace("loses its store")
        self._set_back(None)

    def restore(self, copy: ServerCopy) -> None:
        """The disk is replaced by an older copy of it."""
        self.trace("is restored from a copy")
        self._set_back(copy)

    def remove(self, device: str) -> None:
        """An operator asks for everything of this device to be taken out, if the disk takes the request."""
        self.trace(f"is asked to remove {device}")
        try:
            with self.store.transaction():
                self.store.request_removal(device, self.clock.wall_s())
        except StoreError:
            return

    def command(self, operator: Commander, device: str, windows: Sequence[str], chance: random.Random) -> None:
        """An operator asks a device for something. windows: ids of those that may be labelled."""
        window, label = chance.choice((*windows[-8:], "nobody")), chance.choice(self.place.model.classes)
        name = operator.ask(self.store, device, window, label, chance, self.clock.wall_s())
        self.trace(f"is asked to have {device} do {name}")

    def set_aside(self, device: str) -> None:
        """An operator sets a device aside, whatever it tells."""
        self.trace(f"is asked to set {device} aside")
        self._operate(device, lambda operator: quarantine_device(operator, device, ""), aside=True)

    def readmit(self, device: str) -> None:
        """An operator lets a device count again, and vouches for it."""
        self.trace(f"is asked to readmit {device}")
        self._operate(device, lambda operator: readmit_device(operator, device), aside=False)

    def _operate(self, device: str, act: Callable[[Operator], object], aside: bool) -> None:
        trust = self._lives.trust
        trust.says(device, self.place.scheduler.now_s)
        try:
            with self.store.transaction():
                act(Operator(self.store, "operator", self.clock.wall_s()))
            trust.did(aside)
        except (StoreError, ConfigError, UnknownNameError) as error:
            self.trace(f"refuses that: {error}")
        finally:
            trust.said()

    def judged(self, aside: Collection[str]) -> Judgement:
        """Who contradicts the others by all that the server holds. aside: of whom nothing counts."""
        return judged(self.place.models, self._ledger.counted, aside, self.policy)

    def want_settings(self, device: str, chance: random.Random) -> None:
        """An operator changes a setting, for this device among others."""
        said = self._lives.settings.change(self.store, device, chance, self.clock.wall_s())
        self.trace(f"is asked to {said}")

    def begin_trial(self) -> None:
        """An operator begins the rollout of the bundle that is tried, if the disk takes it."""
        if self.place.tried is None:
            return
        self.trace(f"is asked to roll out a bundle: {self.place.tried.quality}")
        try:
            with self.store.transaction():
                begin(self.store, "trial", trial_plan(), self.place.tried.row, self.clock.wall_s())
        except StoreError:
            return

    def fill_disk(self, full: bool) -> None:
        """The disk has no space left, or has again."""
        self.trace("disk is full" if full else "disk has space")
        self.store.fill(full)

    def begin(self) -> None:
        build = self.place.build
        with self.store.transaction():
            deliveries = None
            if self.place.tried is not None:
                deliveries = BundleSender(self.place.fleet, self.store, self.place.tried, self.policy.delivery)
            model = self._shelf.model(self.place.model.variant.space)
            self.core = build.core(self.place.fleet, model, self.policy, self.store, deliveries, self._shelf)
        self._lives.trust.started()
        limits = ServiceLimits(queue_messages_max=QUEUE_MAX, queue_bytes_max=1 << 40)
        self.service = build.service(
            self.place.fleet, self.core, self.store, self._connect, limits, self.clock, SystemdNotifier()
        )
        self.service.start()
        self.wake_after(IDLE_S)

    def turn(self) -> None:
        if self.service is None:
            return
        while self.inbox:
            self._put(self.inbox.popleft())
        self.service.turn(0.0)
        self.wake_after(STEP_S if self.core is not None and self.core.at_work else IDLE_S)

    def end(self) -> None:
        if self.service is not None:
            self.service.finish()

    def forget(self) -> None:
        self.core = self.service = None

    def disk_power_cut(self) -> None:
        self.store.power_cut()

    def _set_back(self, copy: ServerCopy | None) -> None:
        if self.running:
            self._down(self.chance.uniform(1, 60))
        self.lost_store += 1
        self.kept = Kept() if copy is None else copy.kept.copy()
        # heads that were made and not yet compared went with it
        self.news.clear()
        self.heads_without.clear()
        self._removed = False
        self.candidates.clear()
        self.store = self.place.build.server_store(self.power, self._committed)
        if copy is not None:
            self.store.take_over(copy.store)
        self._ledger.set_back({} if copy is None else copy.counted, tables_waiting(self.place, NAME))
        self._lives.settings.set_back(Wants() if copy is None else copy.wants)
        self._lives.trust.set_back(None if copy is None else copy.trust)
        self._lives.gates.set_back(None if copy is None else copy.gates)
        # a head that was being tried then was made of what had been counted before, and compared with that
        self._candidate = None if copy is None else copy.candidate

    def _connect(
        self, will: Outgoing, subscriptions: tuple[str, ...], put: Callable[[TransportEvent], None]
    ) -> Transport:
        place = self.place
        self._put = put
        self.transport = SimulatedTransport(
            place.broker, NAME, NAME, subscriptions, will, self.deliver, place.link, place.scheduler, self.power
        )
        return self.transport

    def _committed(self, kept: Kept) -> None:
        self._removed = self._removed or bool(kept.removed)
        if kept.heads and self._removed and self.kept.heads:
            self.heads_without.add(kept.heads[0].version)
        self._removed = self._removed and not kept.heads
        removed = [key for key in {*self.kept.epochs, *kept.epochs} if key[0] in kept.removed]
        for device in kept.removed:
            self._lives.settings.removed(device)
        if kept.removed:
            self._lives.operator.note_of_service(self.store)
        self.commits += kept.anything
        self.heads += len(kept.heads)
        self.kept.add_stored(kept)
        if not self.place.audited:
            self._ledger.taken_out(removed)
            return
        # what comes in is stored before anything is removed, also where both are one transaction
        for key, row in kept.statistics.items():
            tables = StatisticsReport.decode_stored(row.payload).statistics
            self._ledger.stored(key, row.counter, tables.with_classes(self.place.model.all_classes))
        for taken in kept.updates:
            update = Update.decode(taken.payload)
            key = taken.device, taken.epoch
            self._ledger.took(key, taken.sequence, update.samples, update.delta.tobytes())
        self._ledger.taken_out(removed)
        self._views.committed(self._lives.trust, self.store, kept.removed, self._ledger.counted, self.core)
        reasons, doubted = self._lives.gates.committed(
            self.store, kept.heads, self.policy.head_gate, self._lives.head_trials, self._first, bool(kept.removed)
        )
        if doubted is not None:
            self._candidate_is(doubted, kept)
        made = {head.space for head, how in zip(kept.heads, reasons, strict=True) if how is How.MADE}
        self._note_used_up(kept, made)
        self._note_trials(kept)
        self.kept.add_course(kept)
        self.news += [News(head, kept, how) for head, how in zip(kept.heads, reasons, strict=True)]
        if kept.statistics or kept.sequences or kept.heads:
            versions = [head.version for head in kept.heads]
            counters = [f"{device}:{row.counter}" for (device, _), row in kept.statistics.items()]
            self.trace(f"commits {' '.join(counters)} {kept.sequences or ''} heads {versions}")

    def _note_trials(self, kept: Kept) -> None:
        """A head that is to be tried, and by what was told of it a head was published."""
        if self.policy.head_trial.share == 0:
            return
        for row in self.store.rows(HEAD_CANDIDATES).all(CANDIDATE):
            if row != self._candidate:
                self._candidate = row
                self._candidate_is(row, kept)
        if kept.heads:
            kept.judged.update(self._lives.head_trials.heard(self.store))

    def _candidate_is(self, row: HeadCandidateRow, kept: Kept) -> None:
        aside = [*self._lives.trust.choices(self.place.scheduler.now_s)]
        space = PublishedHead.decode(row.payload).space
        newest = next((head for head in reversed([*self.kept.heads, *kept.heads]) if head.space == space), None)
        self.candidates.append(Candidate(row, dict(self._ledger.counted), aside, kept.averaged, newest))

    def _note_used_up(self, kept: Kept, made: set[str]) -> None:
        """A round ends with a head that is published, unless the gate holds it back. Raises Violation.

        made: spaces that have such a head.
        """
        for row in kept.averaged:
            if row.space in made:
                continue
            if not self._lives.gates.closed(row.space):
                raise Violation(f"update {row.sequence} of {row.device} went into a round of which no head came")
            update = Update.decode(row.payload)
            self._ledger.used_up(row.device, row.sequence, update.samples, update.delta.tobytes())
