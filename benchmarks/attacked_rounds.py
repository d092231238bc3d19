"""Rounds of updates through the aggregator as it ships, for `benchmarks.attacks_gradient`: messages in, heads out."""

from __future__ import annotations

from dataclasses import replace

from aggregator.core import Aggregator
from aggregator.effects import Effect, Instant
from aggregator.heads import FleetModel
from aggregator.policy import Method, Policy
from aggregator.store.memory import MemoryStore
from aggregator.store.rows import QUARANTINED
from benchmarks.averaging_fleets import AveragingFleet
from headway.arrays import Float32
from headway.bundle import head_over_codes, weights_over_unit_codes
from headway.maths import Statistics
from headway.ports import Outgoing, Received
from headway.wire import ALL, Kind, PublishedHead, Update, topic

FLEET, SPACE = "attacked", "averaging"
SHIPPED = replace(Policy(), method=Method.AVERAGE)
# seconds between two rounds: whatever happens at intervals happens
ROUND_S = 3600.0


class Rounds:
    """The aggregator in this process, with its default settings and a clock of its own. start: float32 (C, d + 1)."""

    def __init__(self, made: AveragingFleet, start: Float32) -> None:
        source = Statistics.of(made.source.codes, made.source.labels, made.classes, SPACE)
        self._classes, self._store = made.classes, MemoryStore()
        self._weights, self._version, self._turn = start, 0, 0
        with self._store.transaction():
            model = FleetModel(source, head_over_codes(start, made.classes))
            self._core = Aggregator(FLEET, model, SHIPPED, self._store)

    def __call__(self, weights: Float32, updates: Float32, samples: list[int]) -> Float32:
        """The head after one update of each device, float32 (n, C, d + 1): all of one round. weights: the last one."""
        self._turn += 1
        messages = []
        for at, (delta, count) in enumerate(zip(updates, samples, strict=True)):
            name = f"d{at:03}"
            update = Update(name, 1, self._turn, self._version, count, SPACE, self._classes, delta)
            messages.append(Received(topic(FLEET, name, Kind.UPDATE), update.encode()))
        with self._store.transaction():
            effects = self._core.receive(messages, self._now(0.0))
        self._said(effects)
        for part in (0.25, 0.5, 0.75):
            with self._store.transaction():
                effects = self._core.tick(self._now(part))
            self._said(effects)
        return self._weights

    def aside(self) -> set[int]:
        """Devices that are set aside, by their places."""
        with self._store.transaction():
            return {int(row.device[1:]) for row in self._store.rows(QUARANTINED).all()}

    def _now(self, part: float) -> Instant:
        seconds = (self._turn + part) * ROUND_S
        return Instant(seconds, 1_800_000_000.0 + seconds)

    def _said(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Outgoing) and effect.topic == topic(FLEET, ALL, Kind.HEAD):
                published = PublishedHead.decode(effect.payload)
                self._weights, self._version = weights_over_unit_codes(published.head), published.version
