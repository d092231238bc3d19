"""The trainable .tflite against our own gradient learner, step for step, on plain LiteRT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import Options
from converter.trainable import reference_step, write_trainable
from converter.training_data import training_data
from converter.versions import operators
from headway.gradient import SoftmaxSGD
from headway.head import HeadKind
from tests.converter.test_sources import CLASSES, SHAPE, keras, layers, small_model, windows

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="the converter extra is not installed")


def test_the_written_out_step_is_the_learners_own() -> None:
    random = np.random.default_rng(0)
    embedding = random.normal(size=(20, 6)).astype(np.float32)
    kernel, bias = random.normal(size=(6, 3)).astype(np.float32), np.zeros(3, np.float32)
    labels = np.arange(20) % 3
    learner = SoftmaxSGD(np.concatenate([kernel.T, bias[:, None]], axis=1), 0.1, 20)
    for _ in range(50):
        reference_step(kernel, bias, HeadKind.SOFTMAX, embedding, np.eye(3, dtype=np.float32)[labels], 0.1)
        assert learner.step(embedding, labels)
    assert np.abs(learner.weights[:, :-1].T - kernel).max() <= 1e-5
    assert np.abs(learner.weights[:, -1] - bias).max() <= 1e-5


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
    assert np.allclose(infer(x=x)["output"], model.predict(x, verbose=0), atol=1e-5)
    embed = keras.Model(model.inputs, model.layers[-1].input)
    learner = SoftmaxSGD(np.concatenate([kernel.T, bias[:, None]], axis=1), 0.1, 32)
    features, losses = embed.predict(x, verbose=0), []
    for _ in range(30):
        losses.append(float(train(x=x, y=np.eye(3, dtype=np.float32)[y], learning_rate=np.float32(0.1))["loss"]))
        assert learner.step(features, y)
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
