"""What a device serves before it has learned: the source's own outputs, whatever link it ends in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from converter import Options, convert
from converter.sources import open_source
from edge_agent import Learner
from headway.bundle import read_variant
from headway.maths import HeadKind, Task
from tests.arrays import assert_close
from tests.converter.onnx_models import data, floats, save, weights

ONNX = Options(formats=("onnx",))


def network(folder: Path, outputs: int, activation: str) -> Path:
    """Linear, ReLU, Linear and what the outputs go through, '' for nothing."""
    w = weights()
    w["w2"], w["b2"] = w["w2"][:, :outputs], w["b2"][:outputs]
    nodes = [
        helper.make_node("Gemm", ["input", "w1", "b1"], ["z1"], name="first"),
        helper.make_node("Relu", ["z1"], ["a1"], name="relu"),
        helper.make_node("Gemm", ["a1", "w2", "b2"], ["z2" if activation else "scores"], name="last"),
    ]
    if activation:
        nodes.append(helper.make_node(activation, ["z2"], ["scores"], name="link"))
    return save(folder / "m.onnx", nodes, [floats("scores", "batch", outputs)], w)


@pytest.mark.parametrize(
    ("outputs", "activation", "names"),
    [
        (1, "Sigmoid", ("no", "yes")),
        (2, "Sigmoid", ("no", "yes")),
        (3, "Sigmoid", ("idle", "walk", "run")),
        (3, "Softmax", ("idle", "walk", "run")),
        (3, "", ("idle", "walk", "run")),
        (1, "", ("no", "yes")),
    ],
)
def test_the_frozen_head_serves_what_the_source_gives(
    outputs: int, activation: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    path, (x, _) = network(tmp_path, outputs, activation), data(90)
    expected = open_source(path).answers(x)[1]
    if outputs == 1:
        zero = 1 - expected if activation else np.zeros_like(expected)
        expected = np.concatenate([zero, expected], axis=1)
    y = expected.argmax(axis=1)
    options = Options(formats=("onnx",), task="classification") if not activation else ONNX
    convert(path, (x, y, names), options, out=tmp_path / "m.hwb")
    variant, learner = read_variant(tmp_path / "m.hwb"), Learner.open(tmp_path / "m.hwb")
    if not activation:  # logits: nobody gave their link, and the classes' is the softmax
        assert variant.head.kind is HeadKind.LINEAR
        expected = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    assert variant.task is Task.CLASSIFICATION
    assert_close(learner.predict_proba(x), expected, atol=1e-5)
    assert learner.predict(x).tolist() == [names[index] for index in y]
