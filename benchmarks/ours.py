"""Headway's own learners behind the benchmark's interface: the agent's core, as the service and `replay` drive it."""

from __future__ import annotations

import numpy as np

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features, Pipeline
from edge_agent.runtime import open_runtime
from edge_agent.sync import SyncState
from headway.arrays import Float32, Int64
from headway.bundle import Variant


class Headway:
    """One device. Labels come after the whole block was predicted, by window id, as labels come in the field."""

    def __init__(self, variant: Variant, settings: LearnerSettings | None = None, added: tuple[str, ...] = ()) -> None:
        settings = settings or LearnerSettings()
        learner = HeadLearner(variant, settings)
        windows = RememberedWindows(settings.horizon_rows)
        self.agent = Agent("benchmark", learner, SyncSettings(), SyncState(epoch=1), windows=windows)
        for name in added:
            self.agent.add_class(name)
        self._seen = 0

    def predict(self, features: Features) -> Int64:
        """Classes int64 (n,), by the head that serves now."""
        return self.agent.process(features, None).prediction

    def probabilities(self, features: Features) -> Float32:
        """What was served, float32 (n, C)."""
        return self.agent.process(features, None).probability

    def learn(self, features: Features, labels: Int64) -> None:
        """A block that was predicted, and then got its labels."""
        ids = [str(self._seen + row) for row in range(len(labels))]
        self._seen += len(labels)
        self.agent.process(features, None, ids)
        self.agent.label(ids, labels)
        self.agent.take_events(0.0)

    def see(self, features: Features) -> None:
        """Windows whose labels never come."""
        ids = [str(self._seen + row) for row in range(len(features))]
        self._seen += len(features)
        self.agent.process(features, None, ids)


def features_of(variant: Variant, x: Float32) -> Features:
    """Backbone and feature map over windows float32 (n, ...), once."""
    return Pipeline(variant, open_runtime(variant)).features(x)


def accuracy(prediction: Int64, y: Int64) -> float:
    return float(np.mean(prediction == y))
