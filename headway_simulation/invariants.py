"""Checks, after every event, what must hold: the product is compared with plain histories kept beside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set

import numpy as np

from aggregator.heads import OtherHeads, average, merged, weighed
from aggregator.policy import Method
from aggregator.store import StoredUpdate
from aggregator.taken_updates import TakenUpdate
from edge_agent.agent import Agent
from edge_agent.learner import Trainer
from edge_agent.trial import HeadTrial, Trial
from headway.bundle import head_over_codes, weights_over_unit_codes
from headway.maths import Head, Statistics, fleet_head
from headway.wire import PublishedHead, Update
from headway_simulation.device import SimulatedDevice
from headway_simulation.gates import How
from headway_simulation.head_trials import bits_of
from headway_simulation.history import Violation
from headway_simulation.ledger import Content, Key
from headway_simulation.lives import Lives
from headway_simulation.model import Model
from headway_simulation.server import SimulatedServer
from headway_simulation.server_disk import Kept

# what the aggregator refuses though nobody lies: numbers that are missing after a loss, and what copies send, and what
# is asked of a bundle whose order went with the aggregator's disk
EXPECTED_REFUSALS = ("gap", "base", "conflict", "removed", "delivery")


class Invariants:
    """Checks devices and the aggregator after each of their events. Every method raises Violation.

    models: by feature space, that of the bundle which is served to everybody first.
    """

    def __init__(self, models: Mapping[str, Model], lives: Lives) -> None:
        self._models, self.lives = models, lives
        self._model = next(iter(models.values()))
        self._version = self._lost_stores = 0
        self._averaged: set[tuple[str, int, int]] = set()
        self._average: dict[str, Head] = {}
        self._checked: object = None
        self._checked_devices: dict[str, object] = {}

    def device(self, device: SimulatedDevice, server: SimulatedServer) -> None:
        """A device's state is the one it committed, its tables are those of its history, and nothing is lost."""
        if device.loop is None:
            return
        if device.loop.store.degraded:
            # memory runs ahead of the disk, and the files wait; nothing else may be lost
            self._files(device)
            return
        agent, history = device.loop.agent, device.history
        state, outbox = agent.sync_state, device.store.outbox_size()
        numbers = state.counter, state.consumed, state.acked, state.sequence, state.boot, state.epoch, state.run_id
        now = device.loop, numbers, outbox, len(history.dropped)
        if now == self._checked_devices.get(device.name):
            return
        self._checked_devices[device.name] = now
        if (state.counter, state.consumed) != (history.counter, history.consumed):
            raise Violation(
                f"{device.name} works on counter {state.counter}, file {state.consumed}; committed are "
                f"{history.counter}, {history.consumed}"
            )
        trainer = agent.learner.trainer
        statistics = trainer.statistics
        if statistics is not None and statistics.with_classes(self._model.all_classes) != history.total:
            raise Violation(
                f"{device.name} holds {statistics.samples} samples under counter {state.counter}, its history "
                f"{history.total.samples}, or others"
            )
        if device.loop.refused:
            raise Violation(f"{device.name} refused {device.loop.refused} messages in a fleet without liars")
        self._files(device)
        if statistics is None:
            self._updates(device, trainer)
        self._acknowledged(device, server)
        self._trial(device, agent)
        self._head_trial(device, agent)

    def aggregator(self, server: SimulatedServer) -> None:
        """The fleet's sum is the union of what devices committed and sent, and heads follow from it."""
        if server.core is None:
            return
        self.lives.settings.check_server(server.store)
        self._candidates(server)
        trust, now_s = self.lives.trust, server.place.scheduler.now_s
        choices = [*trust.choices(now_s)]
        counters = sum(row.counter for row in server.kept.statistics.values())
        now = server.core, len(server.kept.heads), counters, choices[0]
        if now == self._checked and not server.news and len(choices) == 1:
            return
        self._checked = now
        if server.lost_store > self._lost_stores:
            self._lost_stores, self._version = server.lost_store, 0
        self._stored(server)
        self._refusals(server)
        aside = self._aside(server, choices)
        trust.settled(aside, self._told)
        while server.news:
            news = server.news.pop(0)
            stored, kept = news.stored, news.kept
            head = PublishedHead.decode(stored.payload)
            if head.version <= self._version:
                raise Violation(f"head {head.version} was made after head {self._version}")
            self._version = head.version
            if news.how is not How.MADE:
                self._average[stored.space] = head.head
            elif server.tries_heads_of(stored.space) and head.version not in server.heads_without:
                self.lives.head_trials.check_published(head, kept.judged, server.policy.head_trial)
            # only the newest can be compared with the union: the store has moved on from the others
            elif head.method == Method.AVERAGE:
                self._check_average(stored.space, head, kept, server)
            elif all(later.stored.space != stored.space for later in server.news):
                expected = self.head_in_one_place(server, stored.space, aside)
                same(head.head, expected, "the head solved in one place")

    def _aside(self, server: SimulatedServer, choices: Sequence[frozenset[str]]) -> frozenset[str]:
        """Who is set aside in the server's sums, which are those of all others to the bit: who its disk says, unless an
        operator has just said something. Raises Violation."""
        core = server.core
        if core is None:
            return choices[0]
        found = {space: core.statistics_in(space) for space in self._summed(server)}
        for aside in choices:
            if all(self.union(space, aside) == sums for space, sums in found.items()):
                return aside
        for space, sums in found.items():
            union = self.union(space, choices[0])
            if sums != union:
                raise Violation(
                    f"the aggregator sums {sums.samples} samples in space {space[:8]}, its devices reported "
                    f"{union.samples}, without {sorted(choices[0])}"
                )
        return choices[0]

    def _told(self, device: str) -> bool:
        """Whether the server holds labels of a device."""
        counted = self.lives.ledger.counted
        return any(content.tables.samples for (name, _), content in counted.items() if name == device)

    def head_in_one_place(self, server: SimulatedServer, space: str, aside: Set[str]) -> Head:
        """The head of the tables that every device of this space committed and told, each with the weight it may
        have, and without what is set aside."""
        source = self._models[space].variant.training_statistics
        return fleet_head(source, self.weighed(server, space, aside))

    def weighed(
        self, server: SimulatedServer, space: str, aside: Set[str], counted: Mapping[Key, Content] | None = None
    ) -> Statistics:
        """The union, less of devices that claim far more samples than the others. counted: at another time than now."""
        devices: dict[str, Statistics] = {}
        for device, tables in self._counted(space, aside, counted):
            devices[device] = devices[device] + tables if device in devices else tables
        return weighed(devices, self._models[space].variant.training_statistics, server.policy.weighing)

    def _counted(
        self, space: str, aside: Set[str], counted: Mapping[Key, Content] | None = None
    ) -> Iterator[tuple[str, Statistics]]:
        for (device, _), content in (self.lives.ledger.counted if counted is None else counted).items():
            if content.tables.space == space and device not in aside:
                yield device, content.tables

    def _summed(self, server: SimulatedServer) -> set[str]:
        """Spaces that the aggregator has a sum of: the one of everybody, and others once somebody reported of them."""
        return {self._model.variant.space} | {row.space for row in server.kept.statistics.values()}

    def union(self, space: str, aside: Set[str] = frozenset()) -> Statistics:
        """The plain sum of the windows that the fleet counts; of the bundle's classes and those that somebody met.

        aside: devices that contradict the others.
        """
        variant, classes = self._models[space].variant, self._model.all_classes
        total = Statistics.zeros(variant.training_statistics.size, classes, variant.space)
        for _, tables in self._counted(space, aside):
            total = total + tables
        met = [name for name, count in zip(classes, total.counts.tolist(), strict=True) if count]
        return total.with_classes((*variant.classes, *sorted(set(met) - set(variant.classes))))

    def _trial(self, device: SimulatedDevice, agent: Agent) -> None:
        """What a trial has compared is what its device saved, label by label, and no label twice."""
        if agent.trial.unsaved or not agent.trial.running:
            return
        again, report = Trial(agent.learner, device.config.trial), agent.trial.report
        again.restore(device.store.load())
        saved = again.report
        if (saved.frozen, saved.served, saved.sha256) != (report.frozen, report.served, report.sha256):
            raise Violation(f"{device.name} tells of {report.served.count} labels compared, saved {saved.served.count}")
        if report.served.count > agent.learner.trainer.labels:
            raise Violation(f"{device.name} compared {report.served.count} labels of {agent.learner.trainer.labels}")

    def _head_trial(self, device: SimulatedDevice, agent: Agent) -> None:
        """What the trial of a fleet's head has compared is what its device saved, and no label twice."""
        report = agent.head_trial.report
        if agent.head_trial.unsaved or report is None:
            return
        again = HeadTrial(agent.learner, device.config.trial)
        again.restore(device.store.load())
        if again.report != report:
            saved = None if again.report is None else again.report.served.count
            raise Violation(f"{device.name} tells of {report.served.count} labels of a head on trial, saved {saved}")
        if report.served.count > agent.learner.trainer.labels:
            raise Violation(f"{device.name} compared {report.served.count} labels of {agent.learner.trainer.labels}")

    def _candidates(self, server: SimulatedServer) -> None:
        """A head that is tried first is the one of what was counted when it was made."""
        while server.candidates:
            candidate = server.candidates.pop(0)
            head = PublishedHead.decode(candidate.row.payload)
            if head.method == Method.AVERAGE:
                base = None if candidate.newest is None else PublishedHead.decode(candidate.newest.payload).head
                average_of = self._round(candidate.averaged, head, server, base)
                same(head.head, average_of, "the average made in one place when it was to be tried")
                continue
            source = self._models[head.space].variant.training_statistics
            for aside in candidate.aside:
                expected = fleet_head(source, self.weighed(server, head.space, aside, candidate.counted))
                if bits_of(expected) == bits_of(head.head):
                    break
            else:
                same(head.head, expected, "the head solved in one place when it was to be tried")
            self.lives.head_trials.propose(candidate.row)

    def _files(self, device: SimulatedDevice) -> None:
        spool, history = device.spool, device.history
        waiting = {file.name for sequence, file in spool.claimed.items() if sequence > history.consumed}
        lost = history.dropped.keys() - history.applied.keys() - spool.waiting.keys() - waiting - spool.rejected.keys()
        if lost:
            raise Violation(f"{device.name} lost {sorted(lost)}: neither learned nor waiting")

    def _updates(self, device: SimulatedDevice, trainer: Trainer) -> None:
        history, (rows, size) = device.history, device.store.outbox_size()
        waiting = trainer.unfinished
        if history.covered + waiting != history.steps:
            raise Violation(
                f"{device.name} queued {history.covered} labels and holds {waiting}; it learned {history.steps}"
            )
        limits = device.config.sync
        if rows > limits.outbox_rows_max or size > limits.outbox_bytes_max:
            raise Violation(f"the outbox of {device.name} holds {rows} rows, {size} bytes, beyond its limits")

    def _acknowledged(self, device: SimulatedDevice, server: SimulatedServer) -> None:
        """What a device believes to be stored is stored, and what it dropped from its outbox too."""
        if device.loop is None or server.lost_store:
            return
        state, kept = device.loop.agent.sync_state, server.kept
        key = device.config.device, state.epoch
        if key in self.lives.ledger.removed_epochs:
            return
        if device.loop.agent.epochs.exact:
            stored = kept.statistics[key].counter if key in kept.statistics else 0
        else:
            stored = TakenUpdate.stored(server.store, *key).counter
        if state.acked > stored:
            raise Violation(f"{device.name} was told that counter {state.acked} is stored; {stored} is")
        if device.history.family.copied:
            # by their labels, at rest: numbers go on over epochs, and copies end updates elsewhere
            return
        rows = device.store.outbox(0, 1)
        dropped = rows[0].sequence - 1 if rows else state.sequence
        if dropped > kept.sequences.get(key, 0):
            raise Violation(f"{device.name} dropped update {dropped}; the aggregator has {kept.sequences.get(key, 0)}")

    def _refusals(self, server: SimulatedServer) -> None:
        """Nothing was refused but what losses and copies bring, and none of that where there were none."""
        for row in server.store.refusals():
            if row.reason not in EXPECTED_REFUSALS:
                raise Violation(f"the aggregator refused what {row.device} sent: {row.reason}: {row.problem}")

    def _stored(self, server: SimulatedServer) -> None:
        """What a transaction kept is still there."""
        for (device, epoch), row in server.kept.statistics.items():
            found = server.store.statistics(device, epoch)
            if found is None or found.counter < row.counter:
                raise Violation(f"the aggregator lost counter {row.counter} of {device}, which it had committed")
        for (device, epoch), sequence in server.kept.sequences.items():
            if server.store.sequence(device, epoch) < sequence:
                raise Violation(f"the aggregator lost update {sequence} of {device}, which it had committed")

    def _check_average(self, space: str, head: PublishedHead, kept: Kept, server: SimulatedServer) -> None:
        for row in kept.averaged:
            if row.space != space:
                continue
            key = row.device, row.epoch, row.sequence
            if key in self._averaged:
                raise Violation(f"update {row.sequence} of {row.device} was averaged twice")
            self._averaged.add(key)
            update = Update.decode(row.payload)
            self.lives.ledger.averaged(row.device, row.sequence, update.samples, update.delta.tobytes())
        same(
            head.head,
            self._round(kept.averaged, head, server, self._average.get(space)),
            "the average made in one place",
        )
        self._average[space] = head.head

    def _round(
        self, rows: Sequence[StoredUpdate], head: PublishedHead, server: SimulatedServer, base: Head | None
    ) -> Head:
        """What a round over these updates makes of the head before, in one place."""
        space, version = head.space, head.version
        updates: dict[str, list[Update]] = {}
        for row in rows:
            if row.space == space:
                updates.setdefault(row.device, []).append(Update.decode(row.payload))
        policy, others = server.policy.averaging, _others(space, version, server)
        contributions = [merged(part, version, policy, others) for part in updates.values()]
        base = server.start_head(space) if base is None else base
        weights = average(weights_over_unit_codes(base), contributions, policy)
        return head_over_codes(weights, base.classes)


def _others(space: str, version: int, server: SimulatedServer) -> OtherHeads:
    """Heads of other spaces, which make no update of this one stale: all of them, but where a space has published more
    than the store keeps, so that older ones may be anybody's."""
    kept_max, versions = server.policy.limits.heads_kept_max, defaultdict(list)
    for head in server.kept.heads:
        if head.version < version:
            versions[head.space].append(head.version)
    own = versions.pop(space, [])[-kept_max:]
    known_from = own[0] if len(own) == kept_max else 0
    kept = sorted(one for others in versions.values() for one in others[-kept_max:])
    return OtherHeads(own, known_from, [one for one in kept if one <= known_from])


def same(found: Head, expected: Head, what: str) -> None:
    """Two heads are the same to the bit. Raises Violation."""
    if not np.array_equal(found.kernel, expected.kernel) or not np.array_equal(found.bias, expected.bias):
        raise Violation(f"a published head differs from {what}")
