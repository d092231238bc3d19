"""Softplus and vectors of unit length, from Keras to TFLite: right for zeros and for values far too large."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest

from converter import Options, convert
from converter.sources.keras_source import KerasSource
from edge_agent.runtime import open_runtime
from headway.bundle import read_variant
from tests.optional import when_used

keras = when_used("keras")
tf = when_used("tensorflow")
layers = when_used("keras.layers")
TAILS: dict[str, Callable[[], Any]] = {
    "unit": lambda: layers.UnitNormalization(),
    "l2_normalize": lambda: layers.Lambda(lambda x: tf.math.l2_normalize(x, axis=-1)),
    "divided": lambda: layers.Lambda(lambda x: x / tf.sqrt(tf.reduce_sum(x * x, -1, keepdims=True) + 1e-12)),
    "norm": lambda: layers.Lambda(lambda x: x / tf.maximum(tf.norm(x, axis=-1, keepdims=True), 1e-6)),
    "softplus": lambda: layers.Activation("softplus"),
    "mish": lambda: layers.Activation("mish"),
    "log_sigmoid": lambda: layers.Activation("log_sigmoid"),
}


def model(tail: str) -> Any:
    keras.utils.set_random_seed(1)
    front = [layers.Input((12, 3)), layers.Conv1D(4, 3, use_bias=False), layers.GlobalAveragePooling1D()]
    return keras.Sequential([*front, TAILS[tail](), layers.Dense(3, activation="softmax", name="head")])


OFTEN = ("unit", "softplus")
SELDOM = [pytest.param(name, marks=pytest.mark.slow) for name in TAILS if name not in OFTEN]


@pytest.mark.parametrize("tail", [*OFTEN, *SELDOM])
def test_zeros_and_huge_windows_come_out_as_in_the_source(tail: str, tmp_path: Path) -> None:
    random, built = np.random.default_rng(0), model(tail)
    x, y = random.normal(size=(60, 12, 3)).astype(np.float32), np.arange(60) % 3
    convert(built, (x, y), Options(formats=("tflite", "onnx")), out=tmp_path / "m.hwb")
    windows = np.stack([0 * x[0], 1000 * x[1], 0 * x[2] + 1e4, 1e6 * x[3], 1e-9 * x[4]])
    variant = read_variant(tmp_path / "m.hwb")
    assert len(variant.backbones) == 2
    expected = KerasSource(built).answers(windows)[0]
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert np.abs(open_runtime(variant).embed(windows) - expected).max() <= 1e-5 * max(1.0, float(scale.max()))
    assert np.isfinite(open_runtime(variant).embed(windows)).all()


def test_other_models_keep_the_graph_they_have() -> None:
    from converter.sources.frozen import freeze
    from converter.sources.stable_operators import in_stable_form

    plain = keras.Sequential([layers.Input((6,)), layers.Dense(4, activation="gelu"), layers.LayerNormalization()])
    frozen = freeze(lambda x: plain(x, training=False), (None, 6))
    assert in_stable_form(frozen) is frozen
