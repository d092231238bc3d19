"""Copies, backups and corrections of devices that learn targets: every label counts once, none twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from aggregator.heads.fleet_model import FleetModel
from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.sync.history import SyncState
from headway.arrays import AnyArray
from headway.maths.statistics import Statistics
from headway.maths.target_codes import WINDOWS
from headway.maths.task import Task
from headway.samples import Label
from tests.aggregator.fleets import Fleet
from tests.contract.test_branches import STEPS, Lives, everybody_speaks
from tests.contract.test_history import NUMBERS, Device
from tests.edge_agent.task_variants import labelled, task_pipeline, task_variant

VARIANT, PIPELINE = task_variant(Task.REGRESSION, exact=True), task_pipeline(Task.REGRESSION, exact=True)


@dataclass
class TargetDevice(Device):
    """A device whose labels are three values, some of them unknown."""

    def boot(self) -> None:
        self.agent = Agent(
            "pump",
            HeadLearner(VARIANT, LearnerSettings(fleet_prior=False)),
            SyncSettings(),
            SyncState(epoch=next(NUMBERS)),
            windows=RememberedWindows(200),
            run_id=next(NUMBERS),
            draw=lambda bits: next(NUMBERS),
        )
        resume(self.agent, self.store)
        self.store.commit(self.agent.changes())

    def learn(self, count: int, seed: int) -> Statistics:
        x, y = labelled(Task.REGRESSION, count, drift=0.8, seed=seed)
        y[::4, seed % 3] = np.nan
        features = PIPELINE.features(x)
        self.agent.process(features, y, [f"{seed}.{i}" for i in range(count)])
        self.store.commit(self.agent.changes())
        assert VARIANT.targets is not None
        return VARIANT.targets.statistics(features.codes, y, VARIANT.space)

    @property
    def tables(self) -> Statistics:
        found = self.agent.learner.trainer.statistics
        assert found is not None
        return found


class TargetLives(Lives):
    def other_label(self, label: Label) -> AnyArray:
        return np.asarray(label)[None] + np.float32(1.0)


def new_fleet() -> Fleet:
    return Fleet(build_model=lambda: FleetModel.of(VARIANT))


def correct(device: TargetDevice, window_id: str, by: float | None) -> None:
    """Another value, or none at all."""
    known = device.agent.windows.get(window_id)
    assert known is not None
    label = np.asarray(known.label)[None]
    device.agent.label([window_id], np.full_like(label, np.nan) if by is None else label + np.float32(by))
    device.store.commit(device.agent.changes())


def test_a_correction_of_what_an_older_epoch_counted_stays_on_the_device() -> None:
    fleet, device = new_fleet(), TargetDevice()
    device.connect(fleet)
    device.learn(9, 0)
    backup = device.backup()
    device.learn(3, 1)
    device.sync(fleet)
    counted = fleet.core.statistics
    restored = TargetDevice(backup)
    afterwards = restored.learn(5, 2)
    restored.connect(fleet)
    correct(restored, "0.5", 3.0)
    correct(restored, "0.6", None)
    restored.boot()
    restored.connect(fleet)
    assert fleet.core.statistics == counted + afterwards
    assert restored.tables.samples == 13


@pytest.mark.parametrize("restart", [False, True])
def test_corrections_before_a_fork_is_noticed_are_known_after_a_checkpoint(restart: bool) -> None:
    """Shared labels that were corrected here stay as the fleet has them; own ones count as they are now."""
    fleet, device = new_fleet(), TargetDevice()
    device.connect(fleet)
    shared = device.learn(30, 1)
    device.sync(fleet)
    clone = TargetDevice(device.backup())
    theirs = clone.learn(5, 2)
    clone.connect(fleet)
    device.boot()
    before = device.tables
    device.learn(4, 3)
    correct(device, "3.1", 2.0)
    ours = device.tables - before
    correct(device, "1.4", 5.0)
    correct(device, "1.5", None)
    if restart:
        device.store.commit(device.agent.checkpoint())
        device.boot()
    everybody_speaks(fleet, device, clone)
    assert fleet.core.statistics == shared + theirs + ours
    assert fleet.refusals == {}


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_copied_restored_or_set_back_every_label_counts_once(seed: int) -> None:
    nothing = Statistics.zeros(VARIANT.training_statistics.size, WINDOWS, VARIANT.space)
    lives = TargetLives(seed, new_fleet(), TargetDevice(), nothing)
    for _ in range(STEPS):
        lives.step()
    everybody_speaks(lives.fleet, *lives.devices)
    assert VARIANT.targets is not None
    # which values a label has may differ between branches that corrected it; the windows are the same
    counted, total = (VARIANT.targets.features_of(tables) for tables in (lives.fleet.core.statistics, lives.total))
    assert counted == total
    assert lives.fleet.refusals == {}
