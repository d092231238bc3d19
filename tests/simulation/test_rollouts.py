"""200 devices whose learners try a bundle: a planted bad one stops with 5 % of them, a good one reaches all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from aggregator.rollouts import State
from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Pipeline
from edge_agent.sync import SyncState
from headway.bundle.variant import Variant
from headway.wire import TrialReport
from tests.aggregator.test_rollouts import PLAN, SHA256, Fleet
from tests.aggregator.test_rollouts import Device as OrderedDevice
from tests.edge_agent.test_trial import Dulled, Shuffled, elsewhere, shadow
from tests.edge_agent.variants import IdentityRuntime, variant, windows

LABELS_BEFORE = 12


def broken_head() -> Variant:
    """The same space, and a frozen head with its classes mixed up."""
    old = variant()
    return replace(old, release=2, head=replace(old.head, kernel=old.head.kernel[:, ::-1].copy()))


@dataclass
class LearningDevice(OrderedDevice):
    """Obeys as the others, and tries the bundle with a real agent, on windows of its own. tried: the bundle."""

    tried: Variant = field(default_factory=variant)
    runtime: Callable[[], IdentityRuntime] = IdentityRuntime
    agent: Agent | None = None

    def hour(self) -> None:
        if self.order is None or self.order.mode != "trial":
            OrderedDevice.hour(self)
            return
        if self.agent is None:
            learner = HeadLearner(variant(), LearnerSettings())
            self.agent = Agent(self.name, learner, SyncSettings(), SyncState(epoch=1))
            self._learn(LABELS_BEFORE if self.labels else 0)
            self.agent.trial.begin(SHA256, variant(), self.tried, shadow(self.tried, self.runtime()))
        self._learn(self.labels)
        self.counter = self.agent.trial.report.counter

    def _learn(self, count: int) -> None:
        assert self.agent is not None
        if not count:
            return
        x, y = windows(count, drift=0.5, seed=int(self.random.integers(1 << 30)))
        features = Pipeline(variant(), IdentityRuntime()).features(x)
        self.agent.trial.see(x, features, None, y)
        self.agent.process(features, y)

    @property
    def trial(self) -> bytes:
        if self.agent is None or not self.counter:
            return TrialReport("", 0, "none").encode()
        return self.agent.trial.report.encode()


def fleet(tried: Variant, runtime: Callable[[], IdentityRuntime] = IdentityRuntime, count: int = 200) -> Fleet:
    return Fleet(
        {
            f"d{at}": LearningDevice(f"d{at}", labels=3, random=np.random.default_rng(at), tried=tried, runtime=runtime)
            for at in range(count)
        }
    )


@pytest.mark.parametrize(
    ("tried", "runtime"),
    [(variant(), Shuffled), (elsewhere(), Shuffled), (elsewhere(), Dulled), (broken_head(), IdentityRuntime)],
    ids=["mixed up, same space", "mixed up, another space", "sees nothing", "frozen head mixed up"],
)
def test_a_planted_bad_bundle_is_halted_with_5_percent(tried: Variant, runtime: Callable[[], IdentityRuntime]) -> None:
    bad = fleet(tried, runtime)
    bad.begin(PLAN)
    bad.until(State.HALTED, hours=60)
    assert "paired loss" in bad.why
    assert bad.switched == []
    touched = [device for device in bad.devices.values() if device.counter]
    assert 3 <= len(touched) <= 0.05 * 200


def test_a_bundle_as_good_in_another_space_reaches_everybody() -> None:
    """Devices that have labels already do not hold it up: both sides begin anew in its trial."""
    good = fleet(elsewhere(), count=60)
    good.begin(replace(PLAN, stages=(PLAN.stages[0], PLAN.stages[2])))
    while not good.switched:
        good.hour()
    assert len(good.switched) == 3
    for device in list(good.devices.values())[10:]:
        device.labels = 0  # most of a fleet says nothing
    good.until(State.DONE, hours=100)
    assert len(good.switched) == 60
