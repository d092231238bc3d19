"""Heads in every form that Keras models have: activations, convolutions, means; and models that need a second look."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import pytest

from converter.sources.keras_source import KerasSource
from headway.errors import ModelError
from headway.maths import HeadKind
from tests.optional import when_used

keras = when_used("keras")
tf = when_used("tensorflow")
layers = when_used("keras.layers")
NAMES = ("a", "b", "c")
ACTIVATIONS: dict[str, tuple[Callable[[], Any], HeadKind]] = {
    "string": (lambda: "softmax", HeadKind.SOFTMAX),
    "layer": (lambda: layers.Softmax(), HeadKind.SOFTMAX),
    "wrapped layer": (lambda: layers.Activation("sigmoid"), HeadKind.SIGMOID),
    "keras.ops": (lambda: keras.ops.softmax, HeadKind.SOFTMAX),
    "tf.nn": (lambda: tf.nn.softmax, HeadKind.SOFTMAX),
    "tf.math": (lambda: tf.math.sigmoid, HeadKind.SIGMOID),
    "tf.identity": (lambda: tf.identity, HeadKind.LINEAR),
    "partial": (lambda: functools.partial(keras.activations.softmax, axis=-1), HeadKind.SOFTMAX),
    "lambda": (lambda: lambda x: tf.nn.softmax(x), HeadKind.SOFTMAX),
    "log_softmax": (lambda: "log_softmax", HeadKind.SOFTMAX),
    "tf.nn.log_softmax": (lambda: tf.nn.log_softmax, HeadKind.SOFTMAX),
}


def agrees(model: Any, kind: HeadKind = HeadKind.SOFTMAX, log: bool = False) -> KerasSource:
    """Backbone and head of the cut give the model's own outputs."""
    source = KerasSource(model)
    x = np.random.default_rng(0).normal(size=(5, *source.input_shape)).astype(np.float32)
    head = source.weights.head(NAMES)
    embedding, outputs = source.answers(x)
    own = model.predict(x, verbose=0)
    assert head.kind is kind
    assert np.allclose(outputs, np.exp(own) if log else own, atol=1e-6)
    assert np.allclose(head.probabilities(embedding), outputs, atol=1e-5)
    return source


@pytest.mark.parametrize("form", ACTIVATIONS)
def test_an_activation_is_known_by_what_it_does(form: str) -> None:
    make, kind = ACTIVATIONS[form]
    front = [layers.Input((6,)), layers.Dense(4, activation="relu")]
    model = keras.Sequential([*front, layers.Dense(3, activation=make())])
    agrees(model, kind, log="log" in form)


def test_an_activation_that_no_head_ends_in_is_named() -> None:
    warm = functools.partial(lambda x, t: tf.nn.softmax(x / t), t=2.0)
    for activation, name in ((warm, "partial"), ("relu", "relu"), (layers.LeakyReLU(), "leaky_re_lu")):
        model = keras.Sequential([layers.Input((6,)), layers.Dense(3, activation=activation)])
        with pytest.raises(ModelError, match=f"ends in activation .*{name}.*; a head ends in one of softmax"):
            KerasSource(model)


def image(*tail: Any) -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((8, 8, 2)), layers.Conv2D(5, 3, activation="relu"), *tail])


CONVOLUTIONS: dict[str, Callable[[], list[Any]]] = {
    "before the mean": lambda: [layers.Conv2D(3, 1), layers.GlobalAveragePooling2D(), layers.Softmax()],
    "after the mean": lambda: [layers.GlobalAveragePooling2D(keepdims=True), layers.Dropout(0.1), layers.Conv2D(3, 1),
                               layers.Reshape((3,)), layers.Activation("softmax")],
    "flattened": lambda: [layers.GlobalAveragePooling2D(keepdims=True), layers.Conv2D(3, 1, use_bias=False),
                          layers.Flatten(), layers.Softmax()],
    "the whole map": lambda: [layers.Conv2D(3, 6), layers.Flatten(), layers.Softmax()],
    "bent before the mean": lambda: [layers.Conv2D(3, 1, activation="relu"), layers.GlobalAveragePooling2D(),
                                     layers.Softmax()],
    "an activation layer before the mean": lambda: [layers.Conv2D(3, 1), layers.ReLU(),
                                                    layers.GlobalAveragePooling2D(), layers.Softmax()],
    "a pool as large as the map": lambda: [layers.Conv2D(3, 1), layers.AveragePooling2D(6), layers.Flatten(),
                                           layers.Softmax()],
    "bent before such a pool": lambda: [layers.Conv2D(3, 1, activation="relu"), layers.AveragePooling2D(6),
                                        layers.Flatten(), layers.Softmax()],
    "no pointwise convolution": lambda: [layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Softmax()],
    "dense at every place": lambda: [layers.Dense(3), layers.GlobalAveragePooling2D(), layers.Softmax()],
}  # fmt: skip


@pytest.mark.parametrize("form", CONVOLUTIONS)
def test_convolutions_and_means_are_heads(form: str) -> None:
    agrees(image(*CONVOLUTIONS[form]()))


def test_functions_between_layers_are_seen() -> None:
    entry = layers.Input((6,))
    agrees(keras.Model(entry, keras.ops.softmax(layers.Dense(3)(entry))))
    with pytest.raises(ModelError, match="the model ends in Multiply 'multiply.*', not in a Dense head"):
        KerasSource(keras.Model(entry, layers.Dense(3)(entry) * 2.0))


def test_a_head_inside_a_model_inside_a_functional_model_is_found() -> None:
    inner = keras.Sequential([layers.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(3)])
    entry = layers.Input((12, 2))
    agrees(keras.Model(entry, inner(layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3)(entry)))), HeadKind.LINEAR)


def test_weights_that_are_not_what_is_multiplied() -> None:
    head = layers.Dense(3)
    model = keras.Sequential([layers.Input((6,)), head])
    head.enable_lora(2)
    head.lora_kernel_b.assign(np.ones((2, 3), np.float32))
    agrees(model, HeadKind.LINEAR)
    quantised = keras.Sequential([layers.Input((6,)), layers.Dense(3, name="head")])
    quantised.layers[-1].quantize("int8")
    with pytest.raises(ModelError, match=r"'head' is quantised \(int8\); give the model as it was before quantize"):
        KerasSource(quantised)


def test_a_convolution_over_time_is_a_head_too() -> None:
    agrees(keras.Sequential([layers.Input((12, 4)), layers.Conv1D(5, 3), layers.Conv1D(3, 1),
                             layers.GlobalAveragePooling1D(), layers.Softmax()]))  # fmt: skip


@pytest.mark.parametrize(
    "tail",
    [lambda: [layers.Conv2D(3, 1), layers.Flatten()], lambda: [layers.Dense(3)]],
    ids=["map", "dense"],
)
def test_an_answer_for_every_place_is_refused(tail: Callable[[], list[Any]]) -> None:
    with pytest.raises(ModelError, match="a head takes one vector per sample: pool or flatten before it"):
        KerasSource(image(*tail()))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV3Small"])
def test_models_of_keras_applications_are_cut(name: str) -> None:
    agrees(getattr(keras.applications, name)(weights=None, classes=3, input_shape=(32, 32, 3), alpha=1.0))


def test_a_last_layer_that_keeps_layers_of_its_own_is_no_nested_model() -> None:
    class Block(layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layers = [layers.Dense(3)]

        def call(self, x: Any) -> Any:
            return self.layers[0](x)

    with pytest.raises(ModelError, match="the model ends in Block .*, not in a Dense head"):
        KerasSource(keras.Sequential([layers.Input((4,)), Block()]))


def test_stateful_layers_and_fixed_batches_are_told_apart() -> None:
    entry = keras.Input(batch_shape=(1, 6, 2))
    stateful = keras.Sequential([entry, layers.LSTM(3, stateful=True), layers.Dense(3)])
    with pytest.raises(ModelError, match="'.*lstm.*' is stateful: .* build the model with stateful=False"):
        KerasSource(stateful)
    one = keras.Sequential([keras.Input(batch_shape=(1, 6, 2)), layers.GRU(3), layers.Dense(3)])
    assert KerasSource(one).forms() == ("one",)
    assert KerasSource(one).answers(np.zeros((4, 6, 2), np.float32))[1].shape == (4, 3)
    with pytest.raises(ModelError, match="takes batches of 8; build it with a free batch size"):
        KerasSource(keras.Sequential([keras.Input(batch_shape=(8, 6)), layers.Dense(3)]))


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16", "float64"])
def test_other_precisions_are_converted_in_float32_and_that_is_said(policy: str) -> None:
    keras.utils.set_random_seed(0)
    made = [layers.Input((6,)), layers.Dense(5, activation="relu", dtype=policy), layers.Dense(3, dtype=policy),
            layers.Softmax(dtype="float32")]  # fmt: skip
    model = keras.Sequential(made)
    source = KerasSource(model)
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    assert policy.removeprefix("mixed_") in source.notes[0]
    assert np.allclose(source.answers(x)[1], model.predict(x, verbose=0), atol=2e-2)
    assert np.allclose(source.weights.head(NAMES).probabilities(source.answers(x)[0]), source.answers(x)[1], atol=1e-6)


def test_free_lengths_are_fixed_by_name(tmp_path: Path) -> None:
    free = keras.Sequential([layers.Input((None, 3)), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D(),
                             layers.Dense(3)])  # fmt: skip
    with pytest.raises(ModelError, match="fix every length with --input-shape"):
        KerasSource(free)
    source = KerasSource(free, shape=(20, 3))
    x = np.random.default_rng(0).normal(size=(4, 20, 3)).astype(np.float32)
    assert source.input_shape == (20, 3)
    assert np.allclose(source.answers(x)[1], free.predict(x, verbose=0), atol=1e-6)
    with pytest.raises(ModelError, match=r"--input-shape \(20, 4\) does not fit the model, which takes \(None, 3\)"):
        KerasSource(free, shape=(20, 4))


def test_several_inputs_are_refused_with_a_recipe() -> None:
    one, two = layers.Input((4, 2), name="motion"), layers.Input((3,), name="weather")
    joined = layers.Concatenate()([layers.Flatten()(one), two])
    with pytest.raises(ModelError, match=r"motion \(4, 2\), weather \(3,\).*cut it up inside, and call the model"):
        KerasSource(keras.Model([one, two], layers.Dense(3)(joined)))


def test_a_layer_that_fails_is_named_in_one_line() -> None:
    class Fussy(layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return tf.debugging.assert_less(tf.reduce_max(x), 10.0) or x if tf.executing_eagerly() else tf.gather(
                tf.constant([1.0, 2.0]), tf.cast(x, tf.int32)
            )  # fmt: skip

    model = keras.Sequential([layers.Input((3,)), Fussy(), layers.Dense(3)])
    with pytest.raises(ModelError, match="the model cannot be run: ") as caught:
        KerasSource(model).answers(np.full((2, 3), 50, np.float32))
    assert "\n" not in str(caught.value)
