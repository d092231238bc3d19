"""Cutting, converting and proving, on models of a few layers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest

from converter import Options, convert
from converter.features.data import read_training_data, training_data
from converter.sources.keras_source import KerasSource
from edge_agent.runtime import open_runtime
from headway.bundle.variant import read_variant
from headway.errors import ConfigError, DataError, ModelError
from tests.arrays import assert_close
from tests.optional import when_used
from tests.system.conftest import BIN

keras = when_used("keras")
layers = when_used("keras.layers")


def used(normalization: Any) -> Any:
    """Has seen values of its own."""
    normalization.build((None, 3))
    rows = [[1.5, 2.0, 0.5], [0.1, -0.3, 0.2], [0.3, 0.1, -0.2], [1.5, 0.5, 2.0]]
    normalization.set_weights([np.array(row, np.float32) for row in rows])
    return normalization


def model(*tail: object, shape: tuple[int, ...] = (6,)) -> object:
    return keras.Sequential([layers.Input(shape), layers.Dense(5, activation="relu"), *tail])


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        (lambda: [layers.Dense(3, activation="softmax")], "softmax"),
        (lambda: [layers.Dense(3)], "linear"),
        (lambda: [layers.Dense(3, activation="sigmoid", use_bias=False)], "sigmoid"),
        (lambda: [layers.Dense(3), layers.Softmax()], "softmax"),
        (lambda: [layers.Dense(3), layers.Dropout(0.2), layers.Activation("softmax")], "softmax"),
        (lambda: [layers.Dense(3), layers.Rescaling(40.0, offset=20.0)], "linear"),
        (
            lambda: [layers.Dense(3), used(layers.BatchNormalization()), layers.Rescaling(0.4), layers.Softmax()],
            "softmax",
        ),
        (
            lambda: [layers.Dense(3), layers.Normalization(mean=[1, 2, 3.0], variance=[4, 1, 9.0], invert=True)],
            "linear",
        ),
    ],
)
def test_the_cut_gives_back_the_model(tail: Callable[[], list[object]], kind: str) -> None:
    whole = model(*tail())
    found = KerasSource(whole)
    head = found.weights.head(("a", "b", "c"))
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    expected = whole.predict(x, verbose=0)  # type: ignore[attr-defined]
    assert head.kind == kind
    assert_close(head.probabilities(found.answers(x)[0]), expected, atol=1e-6)


def test_a_head_inside_a_nested_sequential_is_found() -> None:
    inner = keras.Sequential([layers.Input((5,)), layers.Dense(4, activation="relu"), layers.Dense(3)])
    whole = model(inner)
    found = KerasSource(whole)
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    logits = found.weights.head(("a", "b", "c")).logits(found.answers(x)[0])
    assert_close(logits, whole.predict(x, verbose=0), atol=1e-6)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: model(layers.Dense(3, activation="softmax"), layers.Rescaling(2.0)),
            "'rescaling.*' scales what it gives",
        ),
        (
            lambda: model(layers.Dense(3), layers.Softmax(), layers.Rescaling(2.0)),
            "ends in 'rescaling.*' after Softmax",
        ),
        (lambda: model(layers.Dense(3, activation="tanh")), "activation tanh"),
        (lambda: model(layers.Reshape((5, 1)), layers.Dense(3)), "one vector per sample"),
        (lambda: keras.Sequential(), "no layers to cut"),
    ],
)
def test_models_without_a_head_are_refused(build: object, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        KerasSource(build())  # type: ignore[operator]


def test_a_bundle_holds_what_the_model_does(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(90, 6)).astype(np.float32)
    x[3, 2] = np.nan
    data = training_data(x, np.arange(90) % 3, ["a", "b", "c"])
    source = model(layers.Dense(3, activation="softmax"))
    report = convert(source, data, Options(name="mine", version="2.1.0", release=7), out=tmp_path / "m.hwb")
    variant = read_variant(tmp_path / "m.hwb")
    assert report.feature_parity <= 1e-5
    assert (variant.name, variant.version, variant.release) == ("mine", "2.1.0", 7)
    assert variant.classes == ("a", "b", "c")
    assert variant.training_statistics.samples == 90
    inputs, missing = variant.preprocessing.apply(x)
    assert missing == 1
    probabilities = variant.head.probabilities(open_runtime(variant).embed(inputs))
    assert_close(probabilities, source.predict(inputs, verbose=0), atol=1e-5)  # type: ignore[attr-defined]


def test_nothing_is_written_when_the_data_does_not_fit(tmp_path: Path) -> None:
    data = training_data(np.zeros((4, 5)), np.array([0, 1, 2, 0]))
    with pytest.raises(DataError, match="the model takes"):
        convert(model(layers.Dense(3)), data, out=tmp_path / "m.hwb")
    with pytest.raises(ModelError, match="3 outputs, the data names 2 classes"):
        convert(model(layers.Dense(3)), (np.zeros((4, 6)), np.array([0, 1, 1, 0])), out=tmp_path / "m.hwb")
    with pytest.raises(ConfigError, match="does not exist"):
        convert(model(layers.Dense(3)), data, out=tmp_path / "gone" / "m.hwb")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 6)), np.zeros(0, int), "no sample"),
        (np.zeros((3, 6)), np.zeros(3, int), "at least two classes"),
        (np.zeros((3, 6)), np.array([0, 1, -1]), "sample 2 has no label"),
        (np.zeros((3, 6)), np.array([0, 1]), "one label for each"),
        (np.zeros(3), np.array([0, 1, 1]), "shape"),
        (np.full((2, 6), np.nan), np.array([0, 1]), "no finite value"),
    ],
)
def test_unusable_training_data_is_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        training_data(x, y)


def test_text_labels_name_their_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 6)), y=np.array(["walk", "idle", "walk"]))
    data = read_training_data(tmp_path / "t.npz")
    assert data.classes == ("idle", "walk")
    assert data.y.tolist() == [1, 0, 1]


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", x=np.zeros((4, 6)), y=np.array([0, 1, 1, 0]))
    (tmp_path / "m.keras").write_text("not a model")
    command = [str(BIN / "edge-convert"), str(tmp_path / "m.keras"), "--data", str(tmp_path / "t.npz")]
    result = subprocess.run([*command, "--out", str(tmp_path / "m.hwb")], capture_output=True, text=True, timeout=120)
    assert result.returncode == 4
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "m.hwb").exists()
