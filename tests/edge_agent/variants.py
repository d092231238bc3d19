"""A small on-device variant without any inference runtime: the backbone is the identity."""

from __future__ import annotations

import numpy as np

from edge_agent.pipeline import Pipeline
from headway.arrays import Float32, Int64
from headway.bundle.variant import Backbone, Variant
from headway.maths.features import FeatureMap, calibrate_scale
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.preprocessing import Preprocessing
from headway.maths.solve import fleet_head
from headway.maths.statistics import Statistics

CLASSES = ("idle", "walk", "run")
SIZE = 8


class IdentityRuntime:
    """Gives back its input, so that a test knows every embedding."""

    name = "identity"

    def embed(self, inputs: Float32) -> Float32:
        return inputs.reshape(len(inputs), -1)


def windows(count: int, *, drift: float = 0.0, seed: int = 0) -> tuple[Float32, Int64]:
    """Labelled windows of three classes; `drift` moves them away from where the model was trained."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    random.shuffle(labels)
    centres = 4.0 * np.eye(3, SIZE)
    moved = np.roll(centres, 1, axis=0) * drift + centres * (1.0 - drift)
    x = moved[labels] + random.normal(0, 0.7, (count, SIZE))
    return x.astype(np.float32), labels.astype(np.int64)


def variant() -> Variant:
    """Trained on undrifted windows: its frozen head is right there and wrong where windows have drifted."""
    x, y = windows(600, seed=99)
    feature_map = FeatureMap(SIZE, calibrate_scale(x))
    codes, _ = feature_map.codes(x)
    source = Statistics.of(codes, y, CLASSES, feature_map.fingerprint("identity"))
    over_codes = fleet_head(source, Statistics.zeros(SIZE, CLASSES, source.space))
    kernel = over_codes.kernel * (np.float32(127) / feature_map.scale)[:, None]
    return Variant(
        name="walk",
        version="1.0.0",
        release=1,
        backbones=(Backbone("backbone.tflite", "tflite", "float32", True, b"identity"),),
        head=Head(kernel, over_codes.bias, HeadKind.SOFTMAX, CLASSES, HeadInput.EMBEDDING),
        features=feature_map,
        preprocessing=Preprocessing((SIZE,), np.zeros(SIZE, np.float32)),
        training_statistics=source,
        probe_inputs=x[:4],
        probe_embedding=x[:4],
    )


def pipeline() -> Pipeline:
    return Pipeline(variant(), IdentityRuntime())
