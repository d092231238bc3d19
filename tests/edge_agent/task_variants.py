"""Small variants with several labels per window, and with values; the backbone is the identity."""

from __future__ import annotations

import numpy as np

from edge_agent.pipeline import Pipeline
from headway.arrays import Float32
from headway.bundle.variant import Backbone, TrainingRows, Variant
from headway.maths.features import FeatureMap, calibrate_scale
from headway.maths.head import Head, HeadInput, HeadKind
from headway.maths.preprocessing import Preprocessing
from headway.maths.statistics import Statistics
from headway.maths.target_codes import TargetCodes
from headway.maths.task import Task
from tests.edge_agent.variants import IdentityRuntime

OUTPUTS = ("heater", "fan", "door")
SIZE = 8
SCALE = np.array([1.0, 40.0, 3000.0], np.float32)


def rule(drift: float) -> Float32:
    """What the outputs depend on, float32 (SIZE, 3); `drift` turns it away from what the model was trained on."""
    random = np.random.default_rng(0)
    before, after = random.normal(size=(2, SIZE, len(OUTPUTS)))
    return ((1.0 - drift) * before + drift * after).astype(np.float32)


def labelled(task: Task, count: int, *, drift: float = 0.0, seed: int = 1) -> tuple[Float32, Float32]:
    """Windows (n, SIZE) and targets (n, 3): 0 / 1, or values of very different sizes."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, SIZE)).astype(np.float32)
    scores = x @ rule(drift)
    if task is Task.MULTI_LABEL:
        return x, (scores > 0).astype(np.float32)
    return x, ((scores + random.normal(0, 0.1, scores.shape)) * SCALE).astype(np.float32)


def task_variant(task: Task, *, exact: bool = False) -> Variant:
    """Trained without drift, with a buffer of targets. exact: with integer tables of them, too, as the converter makes
    it now; without any, as earlier ones did."""
    x, targets = labelled(task, 300, seed=99)
    feature_map = FeatureMap(SIZE, calibrate_scale(x))
    codes, _ = feature_map.codes(x)
    sharp = 4.0 if task is Task.MULTI_LABEL else SCALE
    kernel = (rule(0.0) * sharp).astype(np.float32)
    space = feature_map.fingerprint("identity")
    statistics, coded = Statistics.zeros(SIZE, OUTPUTS, space), None
    if exact:
        coded = TargetCodes.fit(targets, task)
        statistics = coded.statistics(codes, targets, coded.space(space))
    kind = HeadKind.SIGMOID if task is Task.MULTI_LABEL else HeadKind.LINEAR
    return Variant(
        name="room",
        version="1.0.0",
        release=1,
        backbones=(Backbone("backbone.tflite", "tflite", "float32", True, b"identity"),),
        head=Head(kernel, np.zeros(len(OUTPUTS), np.float32), kind, OUTPUTS, HeadInput.EMBEDDING),
        features=feature_map,
        preprocessing=Preprocessing((SIZE,), np.zeros(SIZE, np.float32)),
        training_statistics=statistics,
        targets=coded,
        probe_inputs=x[:4],
        probe_embedding=x[:4],
        buffer=TrainingRows(codes[:60], targets=targets[:60]),
    )


def task_pipeline(task: Task, *, exact: bool = False) -> Pipeline:
    return Pipeline(task_variant(task, exact=exact), IdentityRuntime())
