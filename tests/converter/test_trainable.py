"""The trainable .tflite against our own gradient learner, step for step, on plain LiteRT."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import Options
from converter.export.versions import operators
from converter.features.data import training_data
from converter.features.fit import fit_preprocessing
from converter.trainable.trainable import write_trainable
from converter.trainable.trainable_proof import reference_step
from headway.errors import ConfigError
from headway.maths.descent import Descent, DescentSettings
from headway.maths.losses import Loss
from headway.maths.optimizers import Optimizer
from tests.arrays import assert_close
from tests.converter.test_sources import CLASSES, SHAPE, keras, layers, small_model, windows
from tests.system.conftest import BIN

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="the converter extra is not installed")


def learner_at(kernel: np.ndarray, bias: np.ndarray, loss: Loss, rows: int) -> Descent:
    """The device's learner with this head and plain steps of 0.1."""
    weights = np.concatenate([kernel.T, bias[:, None]], axis=1)
    return Descent(weights, DescentSettings(loss, Optimizer.SGD, learning_rate=0.1), rows)


def with_ones(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, np.ones((len(features), 1), np.float32)], axis=1)


@pytest.mark.parametrize("loss", [Loss.CROSS_ENTROPY, Loss.BINARY_CROSS_ENTROPY, Loss.SQUARED_ERROR])
def test_the_written_out_step_is_the_learners_own(loss: Loss) -> None:
    random = np.random.default_rng(0)
    embedding = random.normal(size=(20, 6)).astype(np.float32)
    kernel, bias = random.normal(size=(6, 3)).astype(np.float32), np.zeros(3, np.float32)
    targets = np.eye(3, dtype=np.float32)[np.arange(20) % 3]
    learner = learner_at(kernel, bias, loss, 20)
    for _ in range(50):
        reference_step(kernel, bias, loss.link, embedding, targets, 0.1)
        assert learner.step(with_ones(embedding), targets.T)
    assert np.abs(learner.weights[:, :-1].T - kernel).max() <= 1e-5
    assert np.abs(learner.weights[:, -1] - bias).max() <= 1e-5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (Options(quantize=("int8",)), "--quantize"),
        (Options(pca=2, expand=16), "--pca, --expand"),
        (Options(name="net", drop_points_max=1.0), "--id, --max-drop"),
        (Options(key=Path("k.pem")), "--key"),
    ],
)
def test_what_only_a_bundle_carries_is_refused(options: Options, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_trainable(tmp_path / "gone.keras", tmp_path / "gone.npz", tmp_path / "t.tflite", options)
    assert str(caught.value) == f"{named} cannot go into a trainable .tflite; leave out, or write a bundle"


@pytest.mark.slow
def test_preprocessing_is_part_of_the_file_and_the_bytes_are_the_same_again(tmp_path: Path) -> None:
    """In the second file's process TensorFlow starts from nothing, and so it did in the first one's."""
    model, (x, y) = small_model(), windows(48)
    model.save(tmp_path / "m.keras")
    x = 5 * x + 20
    x[::5, 3:6, 1] = np.nan
    x[::7, 0] = np.inf
    options = Options(missing="last", denoise="median", standardise=True)
    data = training_data(x, y, CLASSES)
    report = write_trainable(tmp_path / "m.keras", data, tmp_path / "t.tflite", options)
    assert max(report.parity, report.curve_difference) <= 1e-5
    runner = interpreter.Interpreter(model_path=str(tmp_path / "t.tflite"))
    runner.get_signature_runner("set_head")(kernel=(head := model.layers[-1].get_weights())[0], bias=head[1])
    prepared, missing = fit_preprocessing(data, SHAPE, options).apply(x)
    assert missing > 0
    expected = model.predict(prepared, verbose=0)
    assert_close(runner.get_signature_runner("infer")(x=x)["output"], expected, atol=1e-5)
    np.savez(tmp_path / "train.npz", x=x, y=y, classes=CLASSES)
    arguments = ["--missing", "last", "--denoise", "median", "--standardise", "--out", "again.tflite"]
    command = [BIN / "edge-convert", "m.keras", "--data", "train.npz", "--trainable", *arguments]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "again.tflite").read_bytes() == (tmp_path / "t.tflite").read_bytes()


@pytest.mark.slow
def test_the_file_trains_as_the_learner_does(tmp_path: Path) -> None:
    model, (x, y) = small_model(), windows(32)
    report = write_trainable(model, training_data(x, y, CLASSES), tmp_path / "t.tflite", Options())
    assert max(report.parity, report.curve_difference) <= 1e-5
    payload = (tmp_path / "t.tflite").read_bytes()
    assert not [name for name in operators(payload) if name.startswith("Flex")]
    runner = interpreter.Interpreter(model_content=payload)
    infer, train, get_head, set_head = (
        runner.get_signature_runner(name) for name in ("infer", "train", "get_head", "set_head")
    )
    kernel, bias = (np.asarray(w) for w in model.layers[-1].get_weights())
    set_head(kernel=kernel, bias=bias)
    assert_close(infer(x=x)["output"], model.predict(x, verbose=0), atol=1e-5)
    embed = keras.Model(model.inputs, model.layers[-1].input)
    learner = learner_at(kernel, bias, Loss.CROSS_ENTROPY, 32)
    features, losses = with_ones(embed.predict(x, verbose=0)), []
    for _ in range(30):
        losses.append(float(train(x=x, y=np.eye(3, dtype=np.float32)[y], learning_rate=np.float32(0.1))["loss"]))
        assert learner.step(features, np.eye(3, dtype=np.float32)[y].T)
        trained = get_head(unused=np.zeros(1, np.float32))
        assert np.abs(trained["kernel"] - learner.weights[:, :-1].T).max() <= 1e-5
        assert np.abs(trained["bias"] - learner.weights[:, -1]).max() <= 1e-5
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sigmoid", "linear", "gru"])
def test_other_heads_and_backbones_train_too(kind: str, tmp_path: Path) -> None:
    x, y = windows(40)
    body: list[Any] = [layers.Input(SHAPE), layers.GRU(5) if kind == "gru" else layers.GlobalAveragePooling1D()]
    tail = layers.Dense(3, activation="softmax" if kind == "gru" else kind)
    targets = {"gru": y, "sigmoid": np.eye(3)[y], "linear": np.eye(3)[y] * 2.5 + 0.1}[kind]
    data = training_data(x, targets, CLASSES)
    report = write_trainable(keras.Sequential([*body, tail]), data, tmp_path / "t.tflite", Options())
    assert max(report.parity, report.curve_difference) <= 1e-5
