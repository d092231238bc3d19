"""A tiny classifier whose backbone is the identity, so that features are fed directly and runs are fast."""

from __future__ import annotations

import random

import numpy as np

from edge_agent.pipeline import Pipeline
from headway.arrays import Float32, Int8, Int64
from headway.bundle import Backbone, Variant
from headway.maths import FeatureMap, Head, HeadInput, HeadKind, Preprocessing, Statistics, calibrate_scale, fleet_head

CLASSES = ("idle", "walk", "run")
# a class that the bundle does not know; files refer to it by the index behind the bundle's classes
NEW_CLASS = "jump"
# what that class is called once somebody renames it
RENAMED_CLASS = "hop"
SIZE = 6


class IdentityRuntime:
    """Gives back its input. Implements `edge_agent.runtime.Runtime`."""

    name = "identity"

    def embed(self, inputs: Float32) -> Float32:
        return inputs.reshape(len(inputs), -1)


class Model:
    """The bundle of a simulated fleet, and the windows its sensors see. size: d; classes: their names; step: of codes,
    relative to the usual one; another step is another feature space."""

    def __init__(self, size: int = SIZE, classes: tuple[str, ...] = CLASSES, step: float = 1.0) -> None:
        self.size, self.classes = size, classes
        self._random = np.random.default_rng(0)
        self._centres = self._random.normal(0, 2, (len(classes), size))
        rows = 20 * len(classes)
        x, y = self._draw(np.arange(rows) % len(classes), self._random, drift=0.0)
        feature_map = FeatureMap(size, calibrate_scale(x) * np.float32(step))
        codes, _ = feature_map.codes(x)
        source = Statistics.of(codes, y, classes, feature_map.fingerprint(f"identity {step:g}"))
        over_codes = fleet_head(source, Statistics.zeros(size, classes, source.space))
        kernel = over_codes.kernel * (np.float32(127) / feature_map.scale)[:, None]
        self.variant = Variant(
            name="simulated",
            version="1.0.0",
            release=1,
            backbones=(Backbone("backbone.tflite", "tflite", "float32", True, b"identity"),),
            head=Head(kernel, over_codes.bias, HeadKind.SOFTMAX, classes, HeadInput.EMBEDDING),
            features=feature_map,
            preprocessing=Preprocessing((size,), np.zeros(size, np.float32)),
            training_statistics=source,
            probe_inputs=x[:4],
            probe_embedding=x[:4],
        )
        self.pipeline = Pipeline(self.variant, IdentityRuntime())

    def windows(self, count: int, chance: random.Random, drift: float = 0.6) -> tuple[Float32, Int64]:
        """Labelled windows from a place that differs from where the model was trained. x (n, d), y (n,)."""
        generator = np.random.default_rng(chance.getrandbits(32))
        return self._draw(generator.integers(0, len(self.classes), count), generator, drift)

    @property
    def all_classes(self) -> tuple[str, ...]:
        """The bundle's classes and the one that may come, under both its names."""
        return (*self.classes, NEW_CLASS, RENAMED_CLASS)

    def codes(self, x: Float32) -> Int8:
        """What the learner sums over, int8 (n, d)."""
        return self.variant.features.codes(x)[0]

    def _draw(self, labels: Int64, generator: np.random.Generator, drift: float) -> tuple[Float32, Int64]:
        centres = self._centres * (1.0 - drift) + np.roll(self._centres, 1, axis=0) * drift
        x = centres[labels] + generator.normal(0, 1, (len(labels), self.size))
        return x.astype(np.float32), labels.astype(np.int64)
