"""A turn in which nothing happens asks for no statistics: making them takes long where features are many."""

from __future__ import annotations

import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.learner import HeadLearner
from edge_agent.learner.exact.knowledge import Knowledge
from edge_agent.learner.exact.prior import Prior
from edge_agent.learner_settings import LearnerSettings
from edge_agent.sync import SyncState
from headway.maths import Statistics
from headway.wire import Ack
from tests.edge_agent.variants import pipeline, variant, windows


def test_what_is_due_is_known_without_summing_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(owner: type, name: str) -> None:
        inner = getattr(owner, name)

        def get(self: object) -> object:
            made.append(name)
            return inner.fget(self)

        monkeypatch.setattr(owner, name, property(get))

    agent = Agent("wrist", HeadLearner(variant(), LearnerSettings()), SyncSettings(), SyncState(epoch=1))
    x, y = windows(20)
    agent.process(pipeline().features(x), y)
    agent.changes()
    agent.reconnected()
    assert agent.due(0.0, connected=True), "a report"
    state = agent.sync_state
    agent.acknowledged(Ack(state.epoch, state.counter, 0, 0.0).encode())
    # what others learned, which must not be summed to be counted either
    agent.learner.trainer.adopt_prior(
        Statistics.of(pipeline().features(x).codes, y, agent.learner.classes, variant().space)
    )
    counted(Knowledge, "local")
    counted(Prior, "fleet")
    for second in range(1, 50):
        assert agent.due(float(second), connected=True) == []
        assert agent.learner.prior_samples == 20
    assert made == []
