"""A device without a backbone: labelled codes of overlapping classes, drifted away from the training set."""

from __future__ import annotations

import numpy as np

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from edge_agent.sync import SyncState
from headway.arrays import Float32, Int64
from headway.bundle import Backbone, Variant
from headway.maths import FeatureMap, Head, HeadInput, HeadKind, Preprocessing, Statistics, calibrate_scale, fleet_head


class Stream:
    """`size` features, `classes` classes; every call of `windows` gives new ones."""

    def __init__(self, size: int, classes: int) -> None:
        random = np.random.default_rng(0)
        self._centres = random.normal(0, 1, (classes, size))
        self._mix = np.eye(size) + random.normal(0, 0.5 / np.sqrt(size), (size, size))
        x, y = self.windows(4000, seed=1)
        self._map = FeatureMap(size, calibrate_scale(x))
        self.variant = self._variant(x, y, tuple(f"class-{index}" for index in range(classes)))

    def windows(self, count: int, seed: int, drift: bool = False) -> tuple[Float32, Int64]:
        """Embeddings float32 (n, d) and labels int64 (n,)."""
        random = np.random.default_rng(seed)
        labels = random.integers(0, len(self._centres), count)
        x = (self._centres[labels] + random.normal(0, 1, (count, self._centres.shape[1]))) @ self._mix
        return (np.roll(x, 1, axis=1) if drift else x).astype(np.float32), labels

    def features(self, x: Float32) -> Features:
        return Features(x, self._map.codes(x)[0])

    def agent(self, **settings: int | str) -> Agent:
        learner = LearnerSettings(**settings)  # type: ignore[arg-type]
        state = SyncState(epoch=1)
        windows = RememberedWindows(learner.horizon_rows)
        return Agent("bench", HeadLearner(self.variant, learner), SyncSettings(), state, windows=windows)

    def _variant(self, x: Float32, y: Int64, classes: tuple[str, ...]) -> Variant:
        codes, _ = self._map.codes(x)
        source = Statistics.of(codes, y, classes, self._map.fingerprint("identity"))
        head = fleet_head(source, Statistics.zeros(source.size, classes, source.space))
        kernel = head.kernel * (np.float32(127) / self._map.scale)[:, None]
        return Variant(
            name="bench",
            version="1",
            release=1,
            backbones=(Backbone("backbone.tflite", "tflite", "float32", True, b"identity"),),
            head=Head(kernel, head.bias, HeadKind.SOFTMAX, classes, HeadInput.EMBEDDING),
            features=self._map,
            preprocessing=Preprocessing((source.size,), np.zeros(source.size, np.float32)),
            training_statistics=source,
            probe_inputs=x[:4],
            probe_embedding=x[:4],
        )
