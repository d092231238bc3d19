"""A fleet of real agents and the real aggregator in this process, message by message, some devices malicious.

Each honest device is an `edge_agent.agent.Agent` with default settings: it learns its labels as they come, reports,
asks for what the others learned, takes the fleet's head as a candidate of its gate, and tries heads for the server's.
A malicious one sends what its attack makes of its labels so far. All that is due happens between two rounds of labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aggregator.core import Aggregator
from aggregator.effects import Effect, Instant
from aggregator.heads import FleetModel
from aggregator.policy import Policy
from aggregator.store.memory import MemoryStore
from aggregator.store.rows import QUARANTINED
from benchmarks.attacked_fleets import AttackedFleet, Labelled
from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from edge_agent.sync import SyncState
from headway.bundle import Variant
from headway.maths import PAIRED_STEP, PairedLoss, Statistics
from headway.ports import Outgoing, Received
from headway.wire import ALL, Kind, PublishedHead, StatisticsReport, TrialReport, parse_topic, topic

FLEET = "attacked"
# seconds between two rounds of labels, and how often the aggregator looks at what is due in between
ROUND_S, LOOKS = 3 * 3600.0, 3
# answers that answers bring
EXCHANGES_MAX = 8
NO_TRIAL = TrialReport("", 0, "none").encode()
# windows that a malicious device claims to have tried a head on: as many as a message can say
CLAIMED = 1 << 16
# what it says a head is worse by that it does not want
CLAIMED_LOSS = 1.0

# what a malicious device reports after so many of its labels: tables
Lie = Callable[[int], Statistics]


@dataclass(frozen=True, slots=True)
class LiesOnTrials:
    """Reports what `tables` gives, and wants each head that it is to try, so that the published one is withdrawn."""

    tables: Lie

    def __call__(self, until: int) -> Statistics:
        return self.tables(until)


class Device:
    """An honest device. rows: its labels, in the order in which they come."""

    def __init__(self, name: str, variant: Variant, rows: Labelled) -> None:
        settings = LearnerSettings()
        self.name, self._rows, self._learned, self._told = name, rows, 0, ("", 0)
        learner, windows = HeadLearner(variant, settings), RememberedWindows(settings.horizon_rows)
        self.agent = Agent(name, learner, SyncSettings(), SyncState(epoch=1), windows=windows)

    def learn(self, until: int) -> None:
        """Labels up to this one."""
        rows = self._rows[self._learned : until]
        if len(rows):
            self.agent.process(features(rows), rows.labels)
        self._learned = max(until, self._learned)

    def says(self, now_s: float) -> list[Received]:
        """What it sends now."""
        sends = [(send.kind, send.payload) for send in self.agent.due(now_s, connected=True)]
        if (request := self.agent.downlink.prior_request()) is not None:
            sends.append((Kind.PRIOR_REQUEST, request))
        report = self.agent.head_trial.report
        if report is not None and (report.sha256, report.counter) != self._told:
            self._told = report.sha256, report.counter
            sends.append((Kind.HEAD_TRIAL, report.encode()))
        return [Received(topic(FLEET, self.name, kind), payload) for kind, payload in sends]

    def hears(self, kind: Kind, payload: bytes) -> None:
        match kind:
            case Kind.HEAD:
                self.agent.head_published(payload)
            case Kind.CANDIDATE:
                self.agent.head_trial.received(payload)
            case Kind.PRIOR:
                self.agent.prior_received(payload)
            case Kind.ACK:
                self.agent.acknowledged(payload)

    def accuracy(self, test: Labelled) -> float:
        """Of what it serves, per cent."""
        return 100.0 * float(np.mean(self.agent.learner.predict(features(test)).classes == test.labels))


class Liar:
    """A malicious device: tables of an attack, and of each head that it tries what keeps its own work in service."""

    def __init__(self, name: str, lie: Lie) -> None:
        self.name, self._lie, self._says, self._counter = name, lie, list[Received](), 0
        self._published, self._undoes = 0, isinstance(lie, LiesOnTrials)

    def learn(self, until: int) -> None:
        self._counter += 1
        report = StatisticsReport(self.name, 1, self._counter, self._lie(until))
        self._says.append(Received(topic(FLEET, self.name, Kind.STATISTICS), report.encode()))

    def says(self, now_s: float) -> list[Received]:
        said, self._says = self._says, []
        return said

    def hears(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.HEAD:
            self._published = PublishedHead.decode(payload).version
        if kind is Kind.CANDIDATE and payload:
            # a head that is refused is later than the published one; an earlier one is the last good one
            wanted = self._undoes or PublishedHead.decode(payload).version > self._published
            step = round(CLAIMED_LOSS / PAIRED_STEP)
            claim = PairedLoss(CLAIMED, CLAIMED * (-step if wanted else step), CLAIMED * step**2)
            report = TrialReport(hashlib.sha256(payload).hexdigest(), 1, "running", claim, claim)
            self._says.append(Received(topic(FLEET, self.name, Kind.HEAD_TRIAL), report.encode()))


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that the server's gate did. after: rounds of labels; what: "refused", "withdrawn", "passed"."""

    after: int
    what: str


class Server:
    """The aggregator with the model of the bundle, its sample included, and a clock of its own."""

    def __init__(self, variant: Variant, policy: Policy) -> None:
        self._store, self._now_s, self.rounds = MemoryStore(), 1000.0, 0
        self.gate: list[Told] = []
        self.heads: list[PublishedHead] = []
        with self._store.transaction():
            self._core = Aggregator(FLEET, FleetModel.of(variant), policy, self._store)

    def round(self, devices: Mapping[str, Device | Liar]) -> None:
        """What devices say, and all that follows from it until the next labels come."""
        self.rounds += 1
        self._exchange(devices, [])
        for _ in range(LOOKS):
            self._now_s += ROUND_S / LOOKS
            effects = self._said(lambda now: self._core.tick(now, idle=True))
            while self._core.at_work:  # devices are compared in steps
                effects += self._said(lambda now: self._core.tick(now, idle=True))
            self._exchange(devices, effects)

    def joins(self, device: Device, others: Mapping[str, Device | Liar]) -> None:
        """A new device hears what the broker retains, and is told what it asks for."""
        if self.heads:
            device.hears(Kind.HEAD, self.heads[-1].encode())
        self._exchange({**others, device.name: device}, [])

    def aside(self) -> set[str]:
        """Devices of which something does not count."""
        with self._store.transaction():
            return {row.device for row in self._store.rows(QUARANTINED).all()}

    def take(self, messages: Sequence[Received]) -> list[Effect]:
        return self._said(lambda now: self._core.receive(messages, now))

    def _exchange(self, devices: Mapping[str, Device | Liar], effects: list[Effect]) -> None:
        for _ in range(EXCHANGES_MAX):
            self._deliver(effects, devices)
            messages = [said for device in devices.values() for said in device.says(self._now_s)]
            if not messages:
                return
            effects = self.take(messages)
        self._deliver(effects, devices)

    @staticmethod
    def _deliver(effects: list[Effect], devices: Mapping[str, Device | Liar]) -> None:
        for effect in effects:
            if isinstance(effect, Outgoing):
                at = parse_topic(effect.topic)
                for device in devices.values() if at.device == ALL else [devices[at.device]]:
                    device.hears(at.kind, effect.payload)

    def _said(self, act: Callable[[Instant], list[Effect]]) -> list[Effect]:
        with self._store.transaction():
            effects = act(Instant(self._now_s, 1_800_000_000.0 + self._now_s))
            gate = [event for event in reversed(self._store.events(1000)) if event.name == "head-gate"]
        self.gate += [Told(self.rounds, json.loads(event.detail)["state"]) for event in gate[len(self.gate) :]]
        for effect in effects:
            if isinstance(effect, Outgoing) and effect.topic == topic(FLEET, ALL, Kind.HEAD):
                self.heads.append(PublishedHead.decode(effect.payload))
        return effects


def lived(
    fleet: AttackedFleet, lies: Mapping[int, Lie | None], rounds: int, policy: Policy
) -> tuple[Server, dict[int, Device]]:
    """The fleet after all labels came, an equal part in each round.

    lies: of each malicious device by its place; None where it is not there.

    Returns the server and the honest devices by place.
    """
    variant = bundle_of(fleet)
    honest = {
        place: Device(named(place), variant, rows) for place, rows in enumerate(fleet.devices) if place not in lies
    }
    liars = {place: Liar(named(place), lie) for place, lie in lies.items() if lie is not None}
    members: dict[int, Device | Liar] = {**honest, **liars}
    everybody = {device.name: device for device in members.values()}
    server = Server(variant, policy)
    server.take([Received(topic(FLEET, name, Kind.TRIAL), NO_TRIAL) for name in everybody])
    for turn in range(1, rounds + 1):
        for place, device in members.items():
            device.learn(-(-turn * len(fleet.devices[place]) // rounds))
        server.round(everybody)
    return server, honest


def newcomers(fleet: AttackedFleet, server: Server, honest: Mapping[int, Device], labels: int) -> list[float]:
    """Per cent of what a new device serves after its first labels, of each test; it begins with what the fleet tells.

    Its labels are the first rows of the test, which are not scored.
    """
    found = []
    for place, test in enumerate(fleet.tests):
        device = Device(f"new{place}", bundle_of(fleet), test[:labels])
        server.joins(device, {each.name: each for each in honest.values()})
        device.learn(labels)
        found.append(device.accuracy(test[labels:]))
    return found


def bundle_of(fleet: AttackedFleet) -> Variant:
    if fleet.variant is None:
        raise ValueError(f"fleet {fleet.name} has no bundle")
    return fleet.variant


def features(rows: Labelled) -> Features:
    if rows.embedding is None:
        raise ValueError("rows without what the frozen head takes")
    return Features(rows.embedding, rows.codes)


def named(place: int) -> str:
    return f"d{place:03}"
