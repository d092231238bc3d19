"""Graphs that differ only in names and order of constants become the same bytes, and compute what they did."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from tests.converter.onnx_models import data, sklearn_mlp

onnx = pytest.importorskip("onnx", reason="the converter extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime")
from converter.sources.onnx_names import canonical  # noqa: E402
from tests.arrays import assert_close, assert_same  # noqa: E402


def shuffled(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Every inner name exchanged, constants in another order."""
    made, chance = onnx.ModelProto.FromString(model.SerializeToString()), random.Random(seed)
    outside = {value.name for value in (*made.graph.input, *made.graph.output)}
    inner = {name for node in made.graph.node for name in (*node.input, *node.output)} - outside
    new = {name: f"{chance.random()}" for name in sorted(inner)}
    for node in made.graph.node:
        node.name = f"{chance.random()}"
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    tensors = list(made.graph.initializer)
    chance.shuffle(tensors)
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in tensors]
    del made.graph.initializer[:]
    for tensor in copies:
        tensor.name = new.get(tensor.name, tensor.name)
    made.graph.initializer.extend(copies)
    return made


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: data(20)[0]})


def test_names_and_order_of_constants_do_not_reach_the_bytes(tmp_path: Path) -> None:
    model = onnx.load(str(sklearn_mlp(tmp_path)))
    expected = run(model)
    written = {canonical(shuffled(model, seed)).SerializeToString(deterministic=True) for seed in range(5)}
    assert len(written) == 1
    for found, wanted in zip(run(onnx.load_from_string(written.pop())), expected, strict=True):
        assert_same(found, wanted)


def test_loops_keep_what_they_take_from_outside() -> None:
    """y = x + 3 * step, the step a constant of the outer graph, as recurrent layers refer to their weights."""
    helper, tensor = onnx.helper, onnx.TensorProto
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["carried", "step"], ["sum"]),
            helper.make_node("Identity", ["go"], ["going"]),
        ],
        "body",
        [value("i", tensor.INT64, []), value("go", tensor.BOOL, []), value("carried", tensor.FLOAT, ["n", 6])],
        [value("going", tensor.BOOL, []), value("sum", tensor.FLOAT, ["n", 6])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["count", "", "input"], ["y"], body=body)],
        "outer",
        [value("input", tensor.FLOAT, ["n", 6])],
        [value("y", tensor.FLOAT, ["n", 6])],
        [
            onnx.numpy_helper.from_array(np.array(3, np.int64), "count"),
            onnx.numpy_helper.from_array(np.array([0.5], np.float32), "step"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert_close(run(canonical(model))[0], data(20)[0] + 1.5)
