"""One model as live Keras, .keras, .h5 and SavedModel; and models of every shape through the whole conversion."""

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
from converter.sources.opening import open_source
from edge_agent.runtime import open_runtime
from headway.bundle.variant import read_variant
from headway.errors import DataError, ModelError
from tests.arrays import assert_close
from tests.optional import when_used
from tests.system.conftest import BIN

keras = when_used("keras")
layers = when_used("keras.layers")
SHAPE = (12, 3)
CLASSES = ["idle", "walk", "run"]


def windows(count: int = 60, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = random.normal(size=(count, *shape)) + y.reshape(-1, *(1,) * len(shape))
    return x.astype(np.float32), y


def small_model() -> Any:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Conv1D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling1D(),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax", name="head"),
        ]
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Path]]:
    """The live model and its files."""
    folder, model = tmp_path_factory.mktemp("models"), small_model()
    files = {"keras": folder / "m.keras", "h5": folder / "m.h5", "saved": folder / "m"}
    model.save(files["keras"])
    model.save(files["h5"])
    model.export(files["saved"], verbose=False)
    return model, files


@pytest.mark.parametrize("form", ["live", "keras", "h5", "saved"])
def test_every_form_of_a_model_is_cut_at_the_same_place(form: str, saved: tuple[Any, dict[str, Path]]) -> None:
    model, files = saved
    source = open_source(model if form == "live" else files[form], "")
    x, _ = windows(9)
    head = source.weights.head(tuple(CLASSES))
    assert (source.input_shape, head.kernel.shape) == (SHAPE, (4, 3))
    assert_close(head.probabilities(source.answers(x)[0]), model.predict(x, verbose=0), atol=1e-6)
    assert_close(source.answers(x)[1], model.predict(x, verbose=0), atol=1e-6)


def test_a_saved_model_names_what_it_ends_in(tmp_path: Path) -> None:
    open_ended = keras.Sequential([layers.Input((4,)), layers.Dense(3), layers.ReLU()])
    open_ended.export(tmp_path / "m", verbose=False)
    with pytest.raises(ModelError, match="the graph ends in Relu .*, not in MatMul"):
        open_source(tmp_path / "m", "")


@pytest.mark.parametrize("content", ["bad", "cut short"])
@pytest.mark.parametrize("form", ["keras", "h5", "saved"])
def test_damaged_files_are_refused_in_one_line(
    form: str, content: str, saved: tuple[Any, dict[str, Path]], tmp_path: Path
) -> None:
    original = saved[1][form]
    target = tmp_path / original.name
    if form == "saved":
        target.mkdir()
        original, damaged = original / "saved_model.pb", target / "saved_model.pb"
    else:
        damaged = target
    damaged.write_bytes(b"no model" if content == "bad" else original.read_bytes()[:2000])
    with pytest.raises(ModelError) as caught:
        open_source(target, "")
    assert "\n" not in str(caught.value)
    assert target.name in str(caught.value)


def test_a_nested_backbone_keeps_every_layer() -> None:
    inner = keras.Sequential([layers.Input(SHAPE), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D()], name="inner")
    model = keras.Sequential([layers.Input(SHAPE), layers.Rescaling(0.5), inner, layers.Dense(3)])
    _gives_back(model)


def test_a_head_inside_a_nested_model_is_found() -> None:
    inner = keras.Sequential([layers.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)], name="tail")
    model = keras.Sequential([layers.Input(SHAPE), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D(), inner])
    _gives_back(model)


def test_a_functional_model_with_branches_is_cut() -> None:
    entry = layers.Input(SHAPE)
    left, right = layers.GlobalAveragePooling1D()(entry), layers.GlobalMaxPooling1D()(entry)
    joined = layers.Concatenate()([left, right])
    _gives_back(keras.Model(entry, layers.Activation("softmax")(layers.Dense(3)(joined))))


def _gives_back(model: Any) -> None:
    source, (x, _) = open_source(model, ""), windows(6)
    head = source.weights.head(tuple(CLASSES))
    assert_close(head.probabilities(source.answers(x)[0]), model.predict(x, verbose=0), atol=1e-6)


def test_several_inputs_or_outputs_are_refused() -> None:
    one, two = layers.Input((3,)), layers.Input((3,))
    head = layers.Dense(3)
    both = keras.Model([one, two], head(layers.Concatenate()([one, two])))
    with pytest.raises(ModelError, match="2 inputs and 1 outputs; one of each is needed"):
        open_source(both, "")
    twice = keras.Model(one, [layers.Dense(3)(one), layers.Dense(2)(one)])
    with pytest.raises(ModelError, match="1 inputs and 2 outputs"):
        open_source(twice, "")


def test_one_label_per_window_is_asked_of_a_softmax(tmp_path: Path) -> None:
    x, y = windows(20)
    with pytest.raises(DataError, match="give one class index per sample"):
        convert(small_model(), (x, 0.8 * np.eye(3)[y] + 0.1, CLASSES), out=tmp_path / "m.hwb")


def recurrent(layer: Callable[..., Any]) -> Any:
    return keras.Sequential([layers.Input(SHAPE), layer(6), layers.Dense(3, activation="softmax")])


def trained(model: Any) -> Any:
    """A few steps, so that accuracy is not decided by ties."""
    x, y = windows(300)
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=8, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [small_model, lambda: recurrent(layers.GRU), lambda: recurrent(layers.LSTM)],
    ids=["convolution", "gru", "lstm"],
)
def test_all_variants_of_a_model_run_and_match(build: Callable[[], Any], tmp_path: Path) -> None:
    model, (x, y) = trained(build()), windows(120)
    options = Options(
        formats=("tflite", "onnx"), quantize=("none", "float16", "dynamic", "int8"), drop_points_max=5
    )  # fmt: skip
    report = convert(model, (x, y, CLASSES), options, out=tmp_path / "m.hwb")
    assert report.feature_parity <= 1e-5
    assert report.probability_parity <= 1e-5
    assert report.left_out == ()
    variant = read_variant(tmp_path / "m.hwb")
    assert len(variant.backbones) == 6
    probabilities = variant.head.probabilities(open_runtime(variant).embed(x))
    assert_close(probabilities, model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_recurrent_layers_of_a_saved_model_convert_for_one_window(layer: str, tmp_path: Path) -> None:
    model, (x, y) = recurrent(getattr(layers, layer)), windows(40)
    model.export(tmp_path / "saved", verbose=False)
    convert(tmp_path / "saved", (x, y, CLASSES), out=tmp_path / "m.hwb")
    variant = read_variant(tmp_path / "m.hwb")
    assert [backbone.dynamic_batch for backbone in variant.backbones] == [False]
    probabilities = variant.head.probabilities(open_runtime(variant).embed(x))
    assert np.allclose(probabilities, model.predict(x, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(saved: tuple[Any, dict[str, Path]], tmp_path: Path) -> None:
    x, y = windows(60)
    np.savez(tmp_path / "d.npz", x=x, y=y, classes=np.array(CLASSES))
    for seed in ("1", "2"):
        command = [
            str(BIN / "edge-convert"), str(saved[1]["keras"]), "--data", str(tmp_path / "d.npz"), "--pca", "3",
            "--out", str(tmp_path / f"{seed}.hwb"), "--formats", "tflite,onnx", "--quantize", "none,int8",
            "--max-drop", "50", "--min-agreement", "0", "--expand", "auto",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "1.hwb").read_bytes() == (tmp_path / "2.hwb").read_bytes()


@pytest.mark.slow
def test_several_labels_and_values_become_bundles(tmp_path: Path) -> None:
    x, y = windows(80)
    pooled = [layers.Input(SHAPE), layers.GlobalAveragePooling1D(), layers.Dense(8, activation="relu")]
    labels = keras.Sequential([*pooled, layers.Dense(3, activation="sigmoid")])
    report = convert(labels, (x, np.eye(3)[y], CLASSES), Options(expand=8), out=tmp_path / "labels.hwb")
    variant = read_variant(tmp_path / "labels.hwb")
    assert (str(variant.head.kind), variant.training_statistics.samples) == ("sigmoid", 0)
    assert variant.buffer is not None
    assert variant.buffer.targets is not None
    values = keras.Sequential([*pooled, layers.Dense(1)])
    report = convert(values, (x, x.mean(axis=(1, 2)) + 0.01), out=tmp_path / "values.hwb")
    assert report.feature_parity <= 1e-5
    assert str(read_variant(tmp_path / "values.hwb").head.kind) == "linear"
