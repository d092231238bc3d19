"""Small ONNX files as PyTorch's and scikit-learn's exporters lay them out, built by hand: neither is needed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUTS, HIDDEN, CLASSES = 6, 8, ("idle", "walk", "run")
Weights = dict[str, np.ndarray]


def weights(seed: int = 0) -> Weights:
    """Of a network with one hidden layer."""
    random = np.random.default_rng(seed)
    shapes = {"w1": (INPUTS, HIDDEN), "b1": (HIDDEN,), "w2": (HIDDEN, len(CLASSES)), "b2": (len(CLASSES),)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def hidden(x: np.ndarray, w: Weights) -> np.ndarray:
    """What its backbone gives."""
    return np.asarray(np.maximum(x @ w["w1"] + w["b1"], 0))


def data(count: int = 90, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """x float32 (n, 6) and the labels the network itself gives, so that accuracy is a matter of parity."""
    x = np.random.default_rng(seed).normal(size=(count, INPUTS)).astype(np.float32)
    w = weights()
    return x, (hidden(x, w) @ w["w2"] + w["b2"]).argmax(axis=1)


def save(
    path: Path,
    nodes: list[Any],
    outputs: list[Any],
    constants: Weights,
    batch: int | str | None = "batch",
    shape: tuple[int | str, ...] = (INPUTS,),
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, *shape])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    return path


def floats(name: str, *shape: int | str | None) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def torch_like(folder: Path, batch: int | str | None = "batch") -> Path:
    """torch.nn.Linear, ReLU, Linear: Gemm nodes with transposed weights; logits come out."""
    w = weights()
    constants = {"fc1.weight": w["w1"].T, "fc1.bias": w["b1"], "fc2.weight": w["w2"].T, "fc2.bias": w["b2"]}
    nodes = [
        helper.make_node("Gemm", ["input", "fc1.weight", "fc1.bias"], ["h"], transB=1, name="/fc1/Gemm"),
        helper.make_node("Relu", ["h"], ["a"], name="/Relu"),
        helper.make_node("Gemm", ["a", "fc2.weight", "fc2.bias"], ["output"], transB=1, name="/fc2/Gemm"),
    ]
    copied = {name: np.ascontiguousarray(array) for name, array in constants.items()}
    return save(folder / "torch.onnx", nodes, [floats("output", batch, 3)], copied, batch)


def sklearn_mlp(folder: Path) -> Path:
    """MLPClassifier: MatMul + Add, Softmax, and a second output of labels."""
    w = weights()
    nodes = [
        helper.make_node("Cast", ["input"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["cast", "w1"], ["m1"]),
        helper.make_node("Add", ["m1", "b1"], ["a1"]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["m2"]),
        helper.make_node("Add", ["m2", "b2"], ["a2"]),
        helper.make_node("Softmax", ["a2"], ["activations"], axis=1),
        helper.make_node("Identity", ["activations"], ["probabilities"]),
        helper.make_node("ArgMax", ["activations"], ["label"], axis=1, keepdims=0),
    ]
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    rows = {**w, "b1": w["b1"][None], "b2": w["b2"][None]}
    return save(folder / "mlp.onnx", nodes, [label, floats("probabilities", None, 3)], rows)


def sklearn_pipeline(folder: Path, zipmap: bool = True) -> Path:
    """StandardScaler and LogisticRegression of three classes, with or without the ZipMap that skl2onnx adds."""
    w = weights()
    coefficients = np.ascontiguousarray(w["w2"][:INPUTS].T)
    nodes = [
        helper.make_node("Scaler", ["input"], ["scaled"], domain="ai.onnx.ml", offset=[0.5] * 6, scale=[2.0] * 6),
        _classifier("scaled", coefficients, w["b2"], "SOFTMAX"),
        helper.make_node("Normalizer", ["raw"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
    ]
    outputs = [helper.make_tensor_value_info("label", TensorProto.INT64, [None]), floats("probabilities", None, 3)]
    if zipmap:
        nodes.append(
            helper.make_node("ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2])
        )
        table = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
        outputs[1] = helper.make_value_info("maps", helper.make_sequence_type_proto(table))
    return save(folder / "pipeline.onnx", nodes, outputs, {})


def sklearn_binary(folder: Path) -> Path:
    """LogisticRegression of two classes: mirrored rows, each through a sigmoid of its own."""
    row = weights()["w1"][:, 0]
    nodes = [
        _classifier("input", np.stack([-row, row]), np.array([-0.25, 0.25], np.float32), "LOGISTIC"),
        helper.make_node("Normalizer", ["raw"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
    ]
    outputs = [helper.make_tensor_value_info("label", TensorProto.INT64, [None]), floats("probabilities", None, 2)]
    return save(folder / "binary.onnx", nodes, outputs, {})


def _classifier(source: str, coefficients: np.ndarray, intercepts: np.ndarray, transform: str) -> Any:
    return helper.make_node(
        "LinearClassifier",
        [source],
        ["label", "raw"],
        domain="ai.onnx.ml",
        name="LinearClassifier",
        coefficients=coefficients.ravel().tolist(),
        intercepts=intercepts.tolist(),
        multi_class=1,
        post_transform=transform,
        classlabels_ints=list(range(len(intercepts))),
    )
