"""Erfc, which tf2onnx writes and no runtime has."""

from __future__ import annotations

import math

import numpy as np
import pytest

from converter.sources.onnx_operators import with_standard_operators
from tests.arrays import assert_close

onnx = pytest.importorskip("onnx", reason="the converter extra is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the converter extra is not installed")


def graph(operator: str) -> object:
    vector = onnx.helper.make_tensor_value_info
    inputs, outputs = vector("x", 1, [None, 4]), vector("y", 1, [None, 4])
    nodes = [onnx.helper.make_node(operator, ["x"], ["middle"], name="first"),
             onnx.helper.make_node("Neg", ["middle"], ["y"], name="second")]  # fmt: skip
    made = onnx.helper.make_graph(nodes, "g", [inputs], [outputs])
    return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def test_erfc_becomes_one_minus_erf() -> None:
    model = with_standard_operators(graph("Erfc"))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([[-2.0, 0.0, 0.3, 5.0]], np.float32)
    expected = [[-math.erfc(value) for value in x[0]]]
    assert_close(session.run(None, {"x": x})[0], expected, atol=1e-6)


def test_other_graphs_stay_as_they_are() -> None:
    before = graph("Erf")
    assert with_standard_operators(graph("Erf")) == before
