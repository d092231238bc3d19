"""The models of `benchmarks.sources`: each is built small, with random weights, in the form that people have it in."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headway.arrays import Float32
from tests.converter import onnx_models

SERIES, IMAGE, TABLE = (24, 3), (32, 32, 3), (6,)
OWN = """import keras

@keras.saving.register_keras_serializable("own")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x
"""


@dataclass(frozen=True, slots=True)
class Given:
    """A model in a folder. path: of its file; run: x float32 (n, ...) -> its own outputs; shape: of a window."""

    path: Path
    run: Callable[[Float32], Any]
    shape: tuple[int, ...]
    outputs: int


@dataclass(frozen=True, slots=True)
class Case:
    """build: folder -> the model. options: of the command; refused: whether it must be.

    difference_max: of probabilities; more where the source itself computes in float16.
    """

    name: str
    form: str
    build: Callable[[Path], Given]
    options: tuple[str, ...] = ()
    refused: bool = False
    difference_max: float = 1e-4


def cases() -> list[Case]:
    """All of them."""
    import keras

    layers = keras.layers
    made: list[Case] = []

    def add(
        name: str, form: str, build: Callable[[], Any], *options: str, refused: bool = False, most: float = 1e-4
    ) -> None:
        made.append(Case(name, form, lambda folder: _saved(build, form, folder), options, refused, most))

    def stack(entry: tuple[int | None, ...], *body: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: keras.Sequential([layers.Input(entry), *(layer() for layer in body)])

    dense = lambda: layers.Dense(3, activation="softmax")  # noqa: E731
    conv = lambda: layers.Conv1D(8, 5, activation="relu")  # noqa: E731
    pool = layers.GlobalAveragePooling1D
    pool_2d = layers.GlobalAveragePooling2D
    image = lambda: layers.Conv2D(8, 3, strides=2, activation="relu")  # noqa: E731
    cnn = (conv, layers.BatchNormalization, lambda: layers.Dropout(0.3), pool)
    separable = (image, lambda: layers.DepthwiseConv2D(3), layers.BatchNormalization, layers.ReLU, pool_2d)

    add("MLP", "keras", stack(TABLE, lambda: layers.Dense(8, activation="relu"), dense))
    add("CNN 1D", "keras", stack(SERIES, *cnn, dense))
    add("CNN 2D", "keras", stack(IMAGE, image, layers.MaxPooling2D, layers.Flatten, dense))
    add("depthwise CNN", "keras", stack(IMAGE, *separable, dense))
    for recurrent in (layers.LSTM, layers.GRU, layers.SimpleRNN):
        add(recurrent.__name__, "keras", stack(SERIES, functools.partial(recurrent, 6), dense))
    add("bidirectional LSTM", "keras", stack(SERIES, lambda: layers.Bidirectional(layers.LSTM(4)), dense))
    add("Conv1D, GRU", "keras", stack(SERIES, conv, lambda: layers.GRU(6), dense))
    add("stateful LSTM", "keras", lambda: keras.Sequential(
        [keras.Input(batch_shape=(1, *SERIES)), layers.LSTM(4, stateful=True), layers.Dense(3)]
    ), refused=True)  # fmt: skip
    add("attention", "keras", lambda: _attention(keras))
    add("TCN, causal and dilated", "keras", lambda: _tcn(keras))
    add("MobileNet v1 (convolution as head)", "keras", lambda: keras.applications.MobileNet(
        weights=None, classes=3, input_shape=IMAGE, alpha=0.25))  # fmt: skip
    add("MobileNetV2", "keras", lambda: keras.applications.MobileNetV2(
        weights=None, classes=3, input_shape=IMAGE, alpha=0.35))  # fmt: skip
    add("MobileNetV3 small", "keras", lambda: keras.applications.MobileNetV3Small(
        weights=None, classes=3, input_shape=IMAGE, alpha=0.75, minimalistic=True))  # fmt: skip
    add("SqueezeNet-like", "keras", lambda: _squeeze(keras))
    add("autoencoder", "keras", stack(SERIES, lambda: layers.Conv1D(4, 3, padding="same", activation="relu"),
        lambda: layers.Conv1DTranspose(3, 3, padding="same")), refused=True)  # fmt: skip
    add("two inputs", "keras", lambda: _two_inputs(keras), refused=True)
    add("Lambda", "keras", stack(SERIES, lambda: layers.Lambda(lambda x: x[:, -1, :]), dense), refused=True)
    add("Lambda, trusted", "keras", stack(SERIES, lambda: layers.Lambda(lambda x: x[:, -1, :]), dense),
        "--allow-lambda")  # fmt: skip
    add("layer of the user's own", "keras", lambda: _own(keras), refused=True)
    add("layer of the user's own, imported", "keras", lambda: _own(keras), "--import", "own_layers.py")
    add("mixed_float16", "keras", lambda: _mixed(keras), most=1e-3)
    add("UnitNormalization", "keras", stack(SERIES, conv, pool, layers.UnitNormalization, dense))
    add("exact GELU", "keras", stack(TABLE, lambda: layers.Dense(8, activation="gelu"), dense), "--formats",
        "tflite,onnx")  # fmt: skip
    add("LayerNormalization, swish", "keras", stack(SERIES, lambda: layers.Conv1D(8, 3, activation="swish"),
        layers.LayerNormalization, pool, dense))  # fmt: skip
    add("softplus, ELU", "keras", stack(TABLE, lambda: layers.Dense(8, activation="softplus"),
        lambda: layers.Dense(8, activation="elu"), dense))  # fmt: skip
    add("logits", "keras", stack(SERIES, conv, pool, lambda: layers.Dense(3)))
    add("one sigmoid, two classes", "keras", stack(SERIES, conv, pool, lambda: layers.Dense(1, activation="sigmoid")))
    add("four sigmoids, one label", "keras", stack(SERIES, conv, pool, lambda: layers.Dense(4, activation="sigmoid")))
    add("free length", "keras", stack((None, 3), conv, pool, dense), "--input-shape", "24,3")
    add("CNN 1D", "h5", stack(SERIES, *cnn, dense))
    add("depthwise CNN, Keras 2", "h5 of Keras 2", stack(IMAGE, *separable, dense))
    add("LSTM, Keras 2", "h5 of Keras 2", stack(SERIES, lambda: layers.LSTM(6), dense))
    add("CNN 1D", "SavedModel", stack(SERIES, *cnn, dense))
    add("LSTM", "SavedModel", stack(SERIES, lambda: layers.LSTM(6), dense))
    add("convolution as head", "SavedModel", stack(IMAGE, image, lambda: layers.Conv2D(3, 1), pool_2d, layers.Softmax))
    add("autoencoder", "SavedModel", stack(SERIES, lambda: layers.Conv1D(4, 3, padding="same", activation="relu"),
        lambda: layers.Conv1DTranspose(3, 3, padding="same")), refused=True)  # fmt: skip
    for name, builder, outputs in (
        ("PyTorch-like MLP, logits", onnx_models.torch_like, 3),
        ("scikit-learn MLP, three classes", onnx_models.sklearn_mlp, 3),
        ("scikit-learn MLP, two classes", _binary_mlp, 2),
        ("scikit-learn scaler + logistic regression", onnx_models.sklearn_pipeline, 3),
        ("scikit-learn logistic regression, two classes", onnx_models.sklearn_binary, 2),
        ("CNN 2D, channels first", _onnx_image, 3),
    ):
        made.append(Case(name, "ONNX", lambda folder, b=builder, o=outputs: _onnx(b(folder), o)))  # type: ignore[misc]
    made.append(Case("float64 input", "ONNX", lambda folder: _double(folder), refused=True))
    return made


def _saved(build: Callable[[], Any], form: str, folder: Path) -> Given:
    import keras

    keras.utils.set_random_seed(1)
    (folder / "own_layers.py").write_text(OWN)
    model = build()
    random = np.random.default_rng(2)
    for weight in model.weights:  # batch normalisation of a fresh layer changes nothing
        if weight.path.endswith(("moving_mean", "moving_variance", "gamma", "beta")):
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    path = folder / {"keras": "m.keras", "SavedModel": "m"}.get(form, "m.h5")
    if form == "SavedModel":
        model.export(path, verbose=False)
    else:
        model.save(path)
    if form == "h5 of Keras 2":
        _age(path)
    shape = tuple(length or SERIES[0] for length in model.inputs[0].shape[1:])
    batch = model.inputs[0].shape[0] or 32

    def run(x: Float32) -> Any:
        return model.predict(x, verbose=0, batch_size=batch)

    return Given(path, run, shape, int(np.prod(model.outputs[0].shape[1:])))


def _age(path: Path) -> None:
    """Write into the configuration what Keras 2 wrote and Keras 3 no longer knows."""
    import h5py

    old: Mapping[str, dict[str, Any]] = {"DepthwiseConv2D": {"groups": 1}, "LSTM": {"time_major": False}}

    def aged(node: Any) -> Any:
        if isinstance(node, list):
            return [aged(part) for part in node]
        if not isinstance(node, dict):
            return node
        node = {key: aged(value) for key, value in node.items() if key not in ("module", "registered_name")}
        if isinstance(node.get("config"), dict):
            node["config"] |= old.get(node.get("class_name", ""), {})
        return node

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(aged(json.loads(file.attrs["model_config"])))
        file.attrs["keras_version"] = "2.13.1"


def _attention(keras: Any) -> Any:
    entry = keras.Input(SERIES)
    inner = keras.layers.Dense(8)(entry)
    inner = inner + keras.layers.MultiHeadAttention(2, 4)(inner, inner)
    pooled = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(inner))
    return keras.Model(entry, keras.layers.Dense(3, activation="softmax")(pooled))


def _tcn(keras: Any) -> Any:
    entry = inner = keras.Input(SERIES)
    for dilation in (1, 2, 4):
        branch = keras.layers.Conv1D(8, 3, padding="causal", dilation_rate=dilation, activation="relu")(inner)
        inner = keras.layers.Add()([keras.layers.Conv1D(8, 1)(inner), branch])
    return keras.Model(entry, keras.layers.Dense(3, activation="softmax")(inner[:, -1, :]))


def _squeeze(keras: Any) -> Any:
    layers = keras.layers
    entry = keras.Input(IMAGE)
    inner = layers.Conv2D(8, 1, activation="relu")(layers.Conv2D(8, 3, strides=2, activation="relu")(entry))
    parts = [layers.Conv2D(8, 1, activation="relu")(inner)]
    parts.append(layers.Conv2D(8, 3, padding="same", activation="relu")(inner))
    scores = layers.Conv2D(3, 1, activation="relu")(layers.Concatenate()(parts))
    return keras.Model(entry, layers.Softmax()(layers.GlobalAveragePooling2D()(scores)))


def _two_inputs(keras: Any) -> Any:
    one, two = keras.Input((3,)), keras.Input((3,))
    return keras.Model([one, two], keras.layers.Dense(3)(keras.layers.Concatenate()([one, two])))


def _own(keras: Any) -> Any:
    names: dict[str, Any] = {}
    exec(compile(OWN, "own_layers.py", "exec"), names)
    return keras.Sequential([keras.Input(TABLE), names["Twice"](), keras.layers.Dense(3, activation="softmax")])


def _mixed(keras: Any) -> Any:
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layers = keras.layers
        body = [layers.Conv1D(8, 5, activation="relu"), layers.GlobalAveragePooling1D(), layers.Dense(3)]
        return keras.Sequential([layers.Input(SERIES), *body, layers.Activation("softmax", dtype="float32")])
    finally:
        keras.mixed_precision.set_global_policy("float32")


def _onnx(path: Path, outputs: int) -> Given:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]

    def run(x: Float32) -> Any:
        answer = session.run(None, {entry.name: x})[-1]
        return np.array([[row[key] for key in sorted(row)] for row in answer]) if isinstance(answer, list) else answer

    return Given(path, run, tuple(entry.shape[1:]), outputs)


def _binary_mlp(folder: Path) -> Path:
    """MLPClassifier of two classes: one sigmoid p, then Concat(1 - p, p)."""
    from onnx import helper

    w = onnx_models.weights()
    constants = {"w1": w["w1"], "b1": w["b1"], "w2": w["w2"][:, :1], "b2": w["b2"][:1], "one": np.ones(1, np.float32)}
    nodes = [
        helper.make_node("MatMul", ["input", "w1"], ["m1"]),
        helper.make_node("Add", ["m1", "b1"], ["a1"]),
        helper.make_node("Relu", ["a1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["m2"]),
        helper.make_node("Add", ["m2", "b2"], ["a2"]),
        helper.make_node("Sigmoid", ["a2"], ["p"]),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
    ]
    return onnx_models.save(folder / "binary.onnx", nodes, [onnx_models.floats("probabilities", None, 2)], constants)


def _onnx_image(folder: Path) -> Path:
    from onnx import helper

    random = np.random.default_rng(0)
    shapes = {"w3": (5, 3, 3, 3), "w1": (3, 5, 1, 1), "b1": (3,)}
    constants = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Conv", ["input", "w3"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w1", "b1"], ["h"]),
        helper.make_node("GlobalAveragePool", ["h"], ["p"]),
        helper.make_node("Flatten", ["p"], ["z"]),
        helper.make_node("Softmax", ["z"], ["out"]),
    ]
    return onnx_models.save(folder / "m.onnx", nodes, [onnx_models.floats("out", None, 3)], constants, "n", (3, 16, 16))


def _double(folder: Path) -> Given:
    import onnx

    path = onnx_models.torch_like(folder)
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    cast = onnx.helper.make_node("Cast", ["input"], ["single"], to=onnx.TensorProto.FLOAT)
    model.graph.node[0].input[0] = "single"
    model.graph.node.insert(0, cast)
    onnx.save(model, str(path))
    return Given(path, lambda x: np.zeros((len(x), 3), np.float32), TABLE, 3)
