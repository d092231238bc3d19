"""Endings of ONNX graphs: convolutions, means, branches, two classes of one output; and inputs that are no float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converter import Options, convert
from converter.sources.onnx_source import OnnxSource
from headway.bundle import read_variant
from headway.errors import ModelError
from headway.maths import HeadKind
from tests.converter.onnx_models import floats, save

onnxruntime = pytest.importorskip("onnxruntime", reason="the converter extra is not installed")
RANDOM = np.random.default_rng(0)
SHAPES = {
    "w3": (5, 2, 3, 3),
    "w1": (3, 5, 1, 1),
    "b1": (3,),
    "b2": (3,),
    "wd": (2, 3),
    "ws": (6, 3),
    "w33": (3, 5, 3, 3),
}
Nodes = list[Any]
node = helper.make_node
FRONT = [node("Conv", ["input", "w3"], ["c"]), node("Relu", ["c"], ["r"])]
IMAGES: dict[str, Callable[[], Nodes]] = {
    "pointwise, then mean": lambda: [*FRONT, node("Conv", ["r", "w1", "b1"], ["h"]),
                                     node("GlobalAveragePool", ["h"], ["p"]), node("Flatten", ["p"], ["z"])],
    "mean, then pointwise": lambda: [*FRONT, node("GlobalAveragePool", ["r"], ["p"]),
                                     node("Conv", ["p", "w1", "b1"], ["h"]), node("Flatten", ["h"], ["z"])],
    "mean by reduction": lambda: [*FRONT, node("Conv", ["r", "w1"], ["h"]),
                                  node("ReduceMean", ["h"], ["z"], axes=[2, 3], keepdims=0)],
    "bent before the mean": lambda: [*FRONT, node("Conv", ["r", "w1", "b1"], ["h"]), node("Relu", ["h"], ["k"]),
                                     node("GlobalAveragePool", ["k"], ["p"]), node("Flatten", ["p"], ["z"])],
    "wide, then mean": lambda: [*FRONT, node("Conv", ["r", "w33"], ["h"]), node("GlobalAveragePool", ["h"], ["p"]),
                                node("Reshape", ["p", "rows"], ["z"])],
}  # fmt: skip


def constants(*names: str) -> dict[str, np.ndarray]:
    made = {name: RANDOM.normal(size=SHAPES[name]).astype(np.float32) for name in names if name in SHAPES}
    made |= {"scalar": np.array(2.5, np.float32)} if "scalar" in names else {}
    made |= {"positive": np.array([0.5, 2, 1], np.float32)} if "positive" in names else {}
    return made | ({"rows": np.array([-1, 3])} if "rows" in names else {})


def model(folder: Path, nodes: Nodes, shape: tuple[int | str, ...], end: str = "Softmax") -> Path:
    used = {name for each in nodes for name in each.input}
    ended = [*nodes, node(end, ["z"], ["out"])]
    return save(folder / "m.onnx", ended, [floats("out", None, None)], constants(*used), "n", shape)


def agrees(path: Path, log: bool = False) -> OnnxSource:
    """Backbone and head of the cut give the model's own outputs."""
    source = OnnxSource(path)
    x = RANDOM.normal(size=(4, *source.input_shape)).astype(np.float32)
    embedding, outputs = source.answers(x)
    (own,) = onnxruntime.InferenceSession(str(path)).run(["out"], {"input": x})
    assert np.allclose(outputs, np.exp(own) if log else own, atol=1e-6)
    assert np.allclose(source.weights.head(("a", "b", "c")).probabilities(embedding), outputs, atol=1e-5)
    return source


@pytest.mark.parametrize("form", IMAGES)
def test_convolutions_and_means_are_heads(form: str, tmp_path: Path) -> None:
    agrees(model(tmp_path, IMAGES[form](), (2, 8, 8)))


def test_a_product_at_every_step_before_a_mean_is_a_head(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["input", "wd"], ["h"]), node("Add", ["h", "b1"], ["k"]),
             node("ReduceMean", ["k"], ["z"], axes=[1], keepdims=0)]  # fmt: skip
    agrees(model(tmp_path, nodes, (9, 2)))


SCALED: dict[str, Nodes] = {
    "temperature": [node("Div", ["k", "scalar"], ["z"])],
    "scaled and shifted": [
        node("Mul", ["k", "b1"], ["m"]),
        node("Sub", ["m", "b2"], ["s"]),
        node("Add", ["s", "b1"], ["z"]),
    ],
    "batch norm": [node("BatchNormalization", ["k", "b1", "b2", "b1", "positive"], ["z"], epsilon=0.5)],
}


@pytest.mark.parametrize("form", SCALED)
def test_what_scales_the_heads_values_is_part_of_the_head(form: str, tmp_path: Path) -> None:
    agrees(model(tmp_path, [node("Gemm", ["input", "ws", "b1"], ["k"], beta=0.5), *SCALED[form]], (6,)))


def test_a_head_whose_weights_are_computed_is_named(tmp_path: Path) -> None:
    nodes = [node("Tanh", ["ws"], ["wt"]), node("Gemm", ["input", "wt", "b1"], ["z"], name="last")]
    with pytest.raises(ModelError, match="ends at Gemm 'last', whose weights are computed, not at Gemm or"):
        OnnxSource(model(tmp_path, nodes, (6,)))


def test_log_softmax_changes_no_answer_and_is_dropped(tmp_path: Path) -> None:
    source = agrees(model(tmp_path, [node("MatMul", ["input", "ws"], ["z"])], (6,), "LogSoftmax"), log=True)
    assert source.weights.kind is HeadKind.SOFTMAX


@pytest.mark.parametrize("shape", [(9, 2), (4, 9, 2)], ids=str)
def test_an_answer_for_every_step_is_refused_at_any_rank(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a head takes one vector per sample: pool or flatten before it"):
        OnnxSource(model(tmp_path, [node("MatMul", ["input", "wd"], ["z"])], shape))


def test_a_map_of_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes .'n', 5, 6, 6.; a head takes one vector per sample"):
        OnnxSource(model(tmp_path, [*FRONT, node("Conv", ["r", "w1"], ["z"])], (2, 8, 8)))


def branching(folder: Path) -> Path:
    """What torch.jit.script makes of an if: both branches use tensors of the graph around them."""
    then = helper.make_graph([node("Mul", ["a", "gain"], ["t"])], "then", [], [floats("t")])
    other = helper.make_graph([node("Tanh", ["a"], ["e"])], "other", [], [floats("e")])
    nodes = [
        node("MatMul", ["input", "square"], ["a"]),
        node("ReduceSum", ["input"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["positive"]),
        node("If", ["positive"], ["h"], then_branch=then, else_branch=other),
        node("MatMul", ["h", "ws"], ["out"]),
    ]
    square = RANDOM.normal(size=(6, 6)).astype(np.float32)
    given = {"square": square, "gain": np.array(2, np.float32), "zero": np.array(0, np.float32), **constants("ws")}
    return save(folder / "branching.onnx", nodes, [floats("out", None, 3)], given, "n", (6,))


def test_branches_keep_what_they_use_and_are_asked_one_window_at_a_time(tmp_path: Path) -> None:
    path, x = branching(tmp_path), RANDOM.normal(size=(60, 6)).astype(np.float32)
    convert(path, (x, np.arange(60) % 3), Options(formats=("onnx",)), out=tmp_path / "m.hwb")
    session = onnxruntime.InferenceSession(str(path))
    own = np.concatenate([session.run(["out"], {"input": x[row : row + 1]})[0] for row in range(60)])
    assert np.allclose(OnnxSource(path).answers(x)[1], own, atol=1e-6)


def test_a_binary_network_of_scikit_learn_has_two_classes(tmp_path: Path) -> None:
    nodes = [
        node("MatMul", ["input", "first"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("MatMul", ["r", "last"], ["m"]),
        node("Add", ["m", "bias"], ["s"]),
        node("Sigmoid", ["s"], ["p"]),
        node("Sub", ["one", "p"], ["q"]),
        node("Concat", ["q", "p"], ["probabilities"], axis=1),
        node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    given = {"first": RANDOM.normal(size=(6, 5)), "last": RANDOM.normal(size=(5, 1)), "bias": np.array([[0.2]]),
             "one": np.array([1.0])}  # fmt: skip
    label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
    path = save(tmp_path / "mlp.onnx", nodes, [label, floats("probabilities", None, 2)],
                {name: array.astype(np.float32) for name, array in given.items()}, "n", (6,))  # fmt: skip
    x = RANDOM.normal(size=(80, 6)).astype(np.float32)
    source = OnnxSource(path)
    convert(path, (x, np.arange(80) % 2), Options(formats=("onnx",)), out=tmp_path / "m.hwb")
    head = read_variant(tmp_path / "m.hwb").head
    assert np.allclose(head.probabilities(source.answers(x)[0]), source.answers(x)[1], atol=1e-6)


def test_a_linear_regressor_of_scikit_learn_is_a_head(tmp_path: Path) -> None:
    regressor = node("LinearRegressor", ["input"], ["out"], domain="ai.onnx.ml", targets=1, name="reg",
                     coefficients=[1.0, -2.0, 0.5], intercepts=[0.25])  # fmt: skip
    source = OnnxSource(save(tmp_path / "r.onnx", [regressor], [floats("out", None, 1)], {}, "n", (3,)))
    assert (source.weights.kind, source.weights.kernel.tolist()) == (HeadKind.LINEAR, [[1.0], [-2.0], [0.5]])
    assert source.answers(np.ones((2, 3), np.float32))[1].tolist() == [[-0.25], [-0.25]]


@pytest.mark.parametrize(
    ("kind", "told"), [(TensorProto.DOUBLE, r"is double \(float64\)"), (TensorProto.INT64, "is int64")]
)
def test_inputs_of_another_type_are_named(kind: int, told: str, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [node("Cast", ["input"], ["x"], to=TensorProto.FLOAT), node("MatMul", ["x", "w"], ["out"])],
        "graph",
        [helper.make_tensor_value_info("input", kind, ["n", 4])],
        [floats("out", None, 3)],
        [numpy_helper.from_array(np.ones((4, 3), np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=f"input 'input' {told}; it must be float32"):
        OnnxSource(tmp_path / "m.onnx")


def test_free_lengths_are_fixed_by_name(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["input", "wd"], ["h"]), node("ReduceMean", ["h"], ["z"], axes=[1], keepdims=0)]
    path = model(tmp_path, nodes, ("steps", 2))
    with pytest.raises(ModelError, match="every length but the batch must be fixed: give --input-shape"):
        OnnxSource(path)
    assert OnnxSource(path, shape=(9, 2)).answers(np.ones((3, 9, 2), np.float32))[1].shape == (3, 3)
    with pytest.raises(ModelError, match=r"--input-shape \(9, 3\) does not fit input 'input', which takes \(None, 2\)"):
        OnnxSource(path, shape=(9, 3))
