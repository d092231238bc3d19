"""ONNX files: where the head is found, what comes out, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from converter import Options, convert
from converter.sources.onnx_source import OnnxSource
from edge_agent.runtime import open_runtime
from headway.bundle.variant import read_variant
from headway.errors import ConfigError, ModelError
from headway.maths.head import HeadKind
from tests.arrays import assert_close
from tests.converter.onnx_models import (
    CLASSES,
    data,
    floats,
    hidden,
    save,
    sklearn_binary,
    sklearn_mlp,
    sklearn_pipeline,
    torch_like,
    weights,
)

helper = pytest.importorskip("onnx.helper", reason="the converter extra is not installed")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("build", "kind", "layer"),
    [
        (torch_like, HeadKind.LINEAR, "/fc2/Gemm"),
        (sklearn_mlp, HeadKind.SOFTMAX, "m2"),
        (sklearn_pipeline, HeadKind.SOFTMAX, "LinearClassifier"),
        (lambda folder: sklearn_pipeline(folder, zipmap=False), HeadKind.SOFTMAX, "LinearClassifier"),
    ],
)
def test_backbone_and_head_give_back_the_model(
    build: Callable[[Path], Path], kind: HeadKind, layer: str, tmp_path: Path
) -> None:
    source = OnnxSource(build(tmp_path))
    x, _ = data(40)
    head = source.weights.head(CLASSES)
    assert (head.kind, source.weights.layer, source.input_shape) == (kind, layer, (6,))
    assert_close(head.probabilities(source.answers(x)[0]), source.answers(x)[1], atol=1e-6)


def test_the_embedding_is_what_lies_before_the_last_layer(tmp_path: Path) -> None:
    x, _ = data(10)
    assert_close(OnnxSource(torch_like(tmp_path)).answers(x)[0], hidden(x, weights()), atol=1e-6)


def test_two_mirrored_sigmoids_become_a_softmax(tmp_path: Path) -> None:
    source = OnnxSource(sklearn_binary(tmp_path))
    x, _ = data(40)
    head = source.weights.head(("no", "yes"))
    assert head.kind is HeadKind.SOFTMAX
    assert_close(head.probabilities(source.answers(x)[0]), source.answers(x)[1], atol=1e-6)


def test_an_onnx_model_becomes_a_bundle_that_runs(tmp_path: Path) -> None:
    x, y = data(120)
    options = Options(formats=("onnx",), quantize=("none", "int8"), drop_points_max=10, name="net")
    steps: list[str] = []
    report = convert(torch_like(tmp_path), (x, y, CLASSES), options, out=tmp_path / "net.hwb", progress=steps.append)
    variant = read_variant(tmp_path / "net.hwb")
    assert report.source_accuracy == 1.0
    assert report.feature_parity <= 1e-5
    assert [b.precision for b in variant.backbones] == ["float32", "int8"]
    assert variant.backbones[0].runtimes == {"onnxruntime": "1.12"}
    assert_close(open_runtime(variant).embed(x), hidden(x, weights()), atol=1e-5)
    assert variant.training_statistics.samples == 120
    assert steps[0] == "loading and cutting the model"
    assert len(steps) == 6


def test_a_fixed_batch_of_one_is_kept(tmp_path: Path) -> None:
    x, y = data(30)
    convert(torch_like(tmp_path, 1), (x, y, CLASSES), Options(formats=("onnx",)), out=tmp_path / "n.hwb")
    variant = read_variant(tmp_path / "n.hwb")
    assert not variant.backbones[0].dynamic_batch
    assert_close(open_runtime(variant).embed(x), hidden(x, weights()), atol=1e-5)


def broken(name: str, folder: Path) -> Path:
    w = weights()
    gemm = helper.make_node("Gemm", ["input", "w1", "b1"], ["out"], name="last")
    first = {"w1": w["w1"], "b1": w["b1"]}
    if name == "ends in relu":
        return save(folder / "m.onnx", [gemm, helper.make_node("Relu", ["out"], ["y"])], [floats("y", None, 8)], first)
    if name == "free length":
        return save(folder / "m.onnx", [gemm], [floats("out", None, 8)], first, shape=("length",))
    if name == "two outputs":
        second = helper.make_node("Gemm", ["input", "w1", "b1"], ["more"])
        return save(folder / "m.onnx", [gemm, second], [floats("out", None, 8), floats("more", None, 8)], first)
    if name == "weights that are computed":
        nodes = [helper.make_node("Neg", ["w1"], ["n"]), helper.make_node("MatMul", ["input", "n"], ["out"])]
        return save(folder / "m.onnx", nodes, [floats("out", None, 8)], {"w1": w["w1"]})
    path = folder / "m.onnx"
    path.write_bytes(torch_like(folder).read_bytes()[:200] if name == "cut short" else b"no model")
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ends in relu", "ends at Relu, not at Gemm or MatMul .* with constant weights; export the model with"),
        ("free length", "every length but the batch must be fixed"),
        ("two outputs", r"has outputs \['out', 'more'\]; exactly one of float scores is needed"),
        ("weights that are computed", "ends at MatMul"),
        ("cut short", "is not a valid ONNX model"),
        ("something else", "is not a valid ONNX model"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_one_line(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        OnnxSource(broken(name, tmp_path))
    assert "\n" not in str(caught.value)


def test_another_head_can_be_named(tmp_path: Path) -> None:
    assert OnnxSource(torch_like(tmp_path), "/fc2/Gemm").weights.layer == "/fc2/Gemm"
    with pytest.raises(ModelError, match="named '/fc3/Gemm'"):
        OnnxSource(torch_like(tmp_path), "/fc3/Gemm")


def test_tflite_is_not_promised(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gives ONNX backbones only, not tflite; use --formats onnx"):
        convert(torch_like(tmp_path), (*data(), CLASSES), Options(), out=tmp_path / "n.hwb")
    assert not (tmp_path / "n.hwb").exists()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    x, y = data(60)
    options = Options(formats=("onnx",), quantize=("none", "int8"), drop_points_max=10, expand=-1, pca=4, seed=3)
    model = torch_like(tmp_path)
    for name in ("a.hwb", "b.hwb"):
        convert(model, (x, y, CLASSES), options, out=tmp_path / name)
    assert (tmp_path / "a.hwb").read_bytes() == (tmp_path / "b.hwb").read_bytes()
