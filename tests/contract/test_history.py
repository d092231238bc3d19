"""Restored backups, clones and wiped devices against the real aggregator: nothing counts twice or merges silently."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from aggregator.heads.fleet_model import FleetModel
from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.exact.trainer import ExactTrainer
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store import MemoryStore
from edge_agent.sync import as_sent
from edge_agent.sync.history import SyncState
from headway.maths.statistics import Statistics
from headway.ports import Received
from headway.wire.messages import Ack, Update
from headway.wire.topics import Kind, topic
from tests.aggregator.fleets import FLEET, Fleet, acks
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows
from tests.nightly import nightly

NUMBERS = itertools.count(1000)
DAY_S = 86_400.0


@dataclass
class Device:
    """An agent on a store that can be copied, as an SD card can."""

    store: MemoryStore = field(default_factory=MemoryStore)
    kind: str = "exact"
    now_s: float = 0.0
    whole_bytes_max: int = 16 * 1024

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        settings = LearnerSettings(kind=self.kind, update_labels=4)
        state = SyncState(epoch=next(NUMBERS))
        self.agent = Agent(
            "pump",
            HeadLearner(variant(), settings),
            SyncSettings(whole_bytes_max=self.whole_bytes_max),
            state,
            windows=RememberedWindows(200),
            run_id=next(NUMBERS),
            draw=lambda bits: next(NUMBERS),
        )
        resume(self.agent, self.store)
        self.store.commit(self.agent.changes())

    def backup(self) -> MemoryStore:
        return copy.deepcopy(self.store)

    def learn(self, count: int, seed: int) -> Statistics:
        x, y = windows(count, drift=0.8, seed=seed)
        features = pipeline().features(x)
        self.agent.process(features, y, [f"{seed}.{i}" for i in range(count)])
        self.store.commit(self.agent.changes())
        return Statistics.of(features.codes, y, CLASSES, variant().space)

    def connect(self, fleet: Fleet) -> None:
        changes = self.agent.reconnected()
        if changes is not None:
            self.store.commit(changes)
        self.sync(fleet)

    def sync(self, fleet: Fleet, deliver: bool = True) -> None:
        """Send what is due until nothing is; with `deliver` the acks come back."""
        for _ in range(5):
            self.now_s += DAY_S
            sends = [(send.kind, send.payload) for send in self.agent.due(self.now_s, connected=True)]
            rows = self.store.outbox(0, 100)
            acked = rows[0].sequence - 1 if rows else 0
            sends += [(Kind.UPDATE, as_sent(row, acked, self.agent.sync_state)) for row in rows]
            for row in rows:
                self.agent.outbox.sent(row.sequence, self.now_s)
            for kind, payload in sends:
                for ack in acks(fleet.send(Received(topic(FLEET, "pump", kind), payload))).get("pump", []):
                    if deliver:
                        self.hear(ack)

    def hear(self, ack: Ack) -> None:
        changes = self.agent.acknowledged(ack.encode())
        if changes is not None:
            self.store.commit(changes)

    @property
    def tables(self) -> Statistics:
        assert isinstance(self.agent.learner.trainer, ExactTrainer)
        return self.agent.learner.trainer.statistics


def new_fleet() -> Fleet:
    return Fleet(build_model=lambda: FleetModel.of(variant()))


def remove(fleet: Fleet) -> list[Ack]:
    with fleet.store.transaction():
        fleet.store.request_removal("pump", 0.0)
    return acks(fleet.pass_time(2.0))["pump"]


def test_a_device_that_was_removed_keeps_what_it_knows_and_tells_only_what_it_learns_from_then_on() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(9, 0)
    device.connect(fleet)
    device.learn(5, 1)  # not told yet
    epoch, known = device.agent.sync_state.epoch, device.tables
    for ack in remove(fleet):
        device.hear(ack)
    assert device.agent.removed.startswith(f"what this device had told under epoch {epoch} was removed")
    assert device.agent.sync_state.epoch != epoch
    device.sync(fleet)
    assert fleet.core.statistics.samples == 0
    news = device.learn(4, 2)
    device.boot()
    device.connect(fleet)
    assert fleet.core.statistics == news
    assert device.tables == known + news
    assert fleet.refusals == {}


def test_a_device_that_did_not_hear_of_its_removal_learns_it_from_the_next_answer() -> None:
    fleet, device = new_fleet(), Device()
    device.learn(9, 0)
    device.connect(fleet)
    remove(fleet)
    device.learn(5, 1)
    device.sync(fleet)
    assert fleet.refusals == {("pump", "removed"): 1}
    news = device.learn(4, 2)
    device.sync(fleet)
    assert fleet.core.statistics == news


def test_updates_of_a_removed_epoch_are_dropped() -> None:
    fleet, device = new_fleet(), Device(kind="gradient")
    device.learn(10, 0)
    assert device.store.outbox_size()[0] == 2
    device.hear(Ack(device.agent.sync_state.epoch, 0, 0, removed=True))
    assert device.store.outbox_size() == (0, 0)
    device.learn(8, 1)
    rows = device.store.outbox(0, 10)
    assert [row.sequence for row in rows] == [1, 2]
    assert Update.decode(rows[0].payload).epoch == device.agent.sync_state.epoch
    assert fleet.refusals == {}


@pytest.mark.parametrize("restarts", [12, nightly(48)])
def test_many_restarts_are_one_history(restarts: int) -> None:
    fleet, device = new_fleet(), Device()
    total = device.learn(6, 0)
    for seed in range(1, restarts + 1):
        device.boot()
        device.connect(fleet)
        total = total + device.learn(3, seed)
        device.sync(fleet, deliver=seed % 3 == 0)
    device.connect(fleet)
    assert fleet.core.statistics == total
    assert fleet.refusals == {}
    assert device.agent.sync_state.before == 0


def test_a_restored_backup_counts_only_what_it_learns_afterwards() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    early = device.learn(9, 0)
    backup = device.backup()
    late = device.learn(12, 1)
    device.sync(fleet)
    restored = Device(backup)
    afterwards = restored.learn(5, 2)
    restored.connect(fleet)
    assert restored.agent.forked.startswith("the aggregator holds counter 21")
    assert fleet.core.statistics == early + late + afterwards
    assert restored.tables == early + afterwards, "the device's own learner keeps what it knows"
    more = restored.learn(4, 3)
    restored.boot()
    restored.connect(fleet)
    assert fleet.core.statistics == early + late + afterwards + more


def test_a_restored_backup_that_has_overtaken_is_refused_and_found_out() -> None:
    """Its counter is higher than what the aggregator holds: numbers alone would let it replace what was lost."""
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    early = device.learn(9, 0)
    device.sync(fleet)
    backup = device.backup()
    late = device.learn(3, 1)
    device.sync(fleet)
    restored = Device(backup)
    afterwards = restored.learn(40, 2)
    restored.connect(fleet)
    assert fleet.refusals == {}
    assert "12 from a run of this device" in restored.agent.forked
    assert fleet.core.statistics == early + late + afterwards


def test_clones_are_counted_once_each() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    shared = device.learn(9, 0)
    device.sync(fleet)
    clone = Device(device.backup())
    one, other = device.learn(6, 1), clone.learn(8, 2)
    device.sync(fleet)
    clone.connect(fleet)
    device.sync(fleet)
    assert device.agent.forked == ""
    assert clone.agent.forked != ""
    assert fleet.core.statistics == shared + one + other
    more = device.learn(3, 3) + clone.learn(3, 4)
    clone.sync(fleet)
    device.sync(fleet)
    assert fleet.core.statistics == shared + one + other + more


def test_a_wiped_device_begins_anew_and_what_it_gave_stays() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    before = device.learn(9, 0)
    device.sync(fleet)
    wiped = Device()
    after = wiped.learn(6, 1)
    wiped.connect(fleet)
    assert fleet.core.statistics == before + after


def test_a_correction_of_what_an_older_epoch_counted_stays_on_the_device() -> None:
    fleet, device = new_fleet(), Device()
    device.connect(fleet)
    device.learn(9, 0)
    backup = device.backup()
    device.learn(3, 1)
    device.sync(fleet)
    counted = fleet.core.statistics
    restored = Device(backup)
    afterwards = restored.learn(5, 2)
    restored.connect(fleet)
    known = restored.agent.windows.get("0.4")
    assert known is not None
    restored.agent.label(["0.4", "0.5"], np.array([(known.label + 1) % 3, -1]))
    restored.store.commit(restored.agent.changes())
    restored.boot()
    restored.connect(fleet)
    assert fleet.core.statistics == counted + afterwards
    assert restored.tables.samples == 13


def test_an_aggregator_restored_from_a_backup_catches_up_and_suspects_nobody() -> None:
    fleet, device = new_fleet(), Device()
    total = device.learn(5, 0)
    device.connect(fleet)
    old = copy.deepcopy(fleet.store)
    for seed in range(1, 4):
        device.boot()
        total = total + device.learn(5, seed)
        device.connect(fleet)
    fleet = Fleet(build_model=lambda: FleetModel.of(variant()), store=old)
    total = total + device.learn(5, 9)
    device.connect(fleet)
    assert fleet.core.statistics == total
    assert device.agent.forked == ""
