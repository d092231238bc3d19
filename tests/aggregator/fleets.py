"""A small fleet for tests: a model, devices' messages, and the core on a store in memory with a clock of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from aggregator.core import Aggregator
from aggregator.effects import Effect, Instant, Note
from aggregator.heads.fleet_model import FleetModel
from aggregator.heads.spaces import Bundles
from aggregator.policy import Policy
from aggregator.readers import Readers
from aggregator.store.memory import MemoryStore
from aggregator.store.protocol import Store
from headway.arrays import Float32, Int8, Int64
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.statistics import Statistics
from headway.ports import Outgoing, Received
from headway.wire.messages import Ack, PublishedHead, StatisticsReport, Update
from headway.wire.topics import ALL, Kind, parse_topic, topic

FLEET = "plant"
CLASSES = ("idle", "walk", "run")
SIZE = 6
SPACE = "5" * 64


def samples(count: int, seed: int, class_count: int = len(CLASSES)) -> tuple[Int8, Int64]:
    """Random codes int8 (count, SIZE) and labels int64 (count,)."""
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (count, SIZE)).astype(np.int8)
    return codes, random.integers(0, class_count, count)


def tables(count: int, seed: int, classes: tuple[str, ...] = CLASSES, space: str = SPACE) -> Statistics:
    codes, labels = samples(count, seed, len(classes))
    return Statistics.of(codes, labels, classes, space)


def model(classes: tuple[str, ...] = CLASSES, space: str = SPACE) -> FleetModel:
    random = np.random.default_rng(7)
    kernel: Float32 = random.normal(size=(SIZE, len(classes))).astype(np.float32)
    start = Head(kernel, np.zeros(len(classes), np.float32), HeadKind.SOFTMAX, classes, HeadInput.CODES)
    return FleetModel(tables(300, 99, classes, space), start)


@dataclass(frozen=True)
class Shelf:
    """Implements `aggregator.heads.Bundles`: models by their feature space."""

    models: dict[str, FleetModel]

    def sizes(self) -> dict[str, int]:
        return {space: found.training_statistics.size for space, found in self.models.items()}

    def model(self, space: str) -> FleetModel:
        return self.models[space]


def statistics_message(device: str, epoch: int, counter: int, statistics: Statistics) -> Received:
    payload = StatisticsReport(device, epoch, counter, statistics).encode()
    return Received(topic(FLEET, device, Kind.STATISTICS), payload)


def update_message(
    device: str,
    sequence: int,
    delta: Float32,
    *,
    epoch: int = 1,
    base_version: int = 0,
    count: int = 10,
    acked: int = 0,
) -> Received:
    update = Update(device, epoch, sequence, base_version, count, SPACE, CLASSES, delta, acked=acked)
    return Received(topic(FLEET, device, Kind.UPDATE), update.encode())


def delta(value: float) -> Float32:
    return np.full((len(CLASSES), SIZE + 1), value, np.float32)


@dataclass
class Fleet:
    """The real core over a store. `restart` forgets everything but the store."""

    policy: Policy = field(default_factory=lambda: Policy(publish_interval_s=0.0))
    store: Store = field(default_factory=MemoryStore)
    build_model: Callable[[], FleetModel] = model
    bundles: Bundles | None = None
    readers: Readers | None = None
    now_s: float = 1000.0
    wall_ahead_s: float = 1_800_000_000.0
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        with self.store.transaction():
            self.core = Aggregator(
                FLEET, self.build_model(), self.policy, self.store, bundles=self.bundles, readers=self.readers
            )

    def send(self, *messages: Received) -> list[Effect]:
        """One batch, one transaction; what came out is also kept in `effects`."""
        with self.store.transaction():
            made = self.core.receive(messages, self.instant)
        self.effects += made
        return made

    def pass_time(self, seconds: float = 0.0, idle: bool = False) -> list[Effect]:
        self.now_s += seconds
        with self.store.transaction():
            made = self.core.tick(self.instant, idle) if self.core.due(self.instant, idle) else []
        self.effects += made
        return made

    @property
    def instant(self) -> Instant:
        return Instant(self.now_s, self.wall_ahead_s + self.now_s)

    def set_clock_back(self, seconds: float) -> None:
        """Its wall clock alone."""
        self.wall_ahead_s -= seconds

    @property
    def refusals(self) -> dict[tuple[str, str], int]:
        with self.store.transaction():
            return {(row.device, row.reason): row.count for row in self.store.refusals()}


def acks(effects: list[Effect]) -> dict[str, list[Ack]]:
    """Acks by device, but for those that say why something was refused."""
    found = answers(effects)
    told = {device: [ack for ack in every if not ack.refused] for device, every in found.items()}
    return {device: every for device, every in told.items() if every}


def refusals_told(effects: list[Effect]) -> dict[str, list[Ack]]:
    """The acks that say why something was refused, by device."""
    found = answers(effects)
    told = {device: [ack for ack in every if ack.refused] for device, every in found.items()}
    return {device: every for device, every in told.items() if every}


def answers(effects: list[Effect]) -> dict[str, list[Ack]]:
    """Every ack, by device."""
    found: dict[str, list[Ack]] = {}
    for effect in effects:
        if isinstance(effect, Outgoing) and effect.topic.endswith("/ack"):
            found.setdefault(parse_topic(effect.topic).device, []).append(Ack.decode(effect.payload))
    return found


def heads(effects: list[Effect], readers: str = ALL) -> list[PublishedHead]:
    """Published heads, oldest first."""
    head_topic = topic(FLEET, readers, Kind.HEAD)
    messages = [e for e in effects if isinstance(e, Outgoing) and e.topic == head_topic]
    assert all(message.retain for message in messages)
    return [PublishedHead.decode(message.payload) for message in messages]


def warnings(effects: list[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Note) and effect.warning]
