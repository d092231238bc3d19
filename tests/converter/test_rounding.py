"""A model's distance from its own float64 twin."""

from __future__ import annotations

import numpy as np

from converter.proof.parity_gate import distances
from converter.sources.keras_source import KerasSource
from converter.sources.rounding import twin
from tests.arrays import assert_close
from tests.optional import when_used

keras = when_used("keras")
layers = when_used("keras.layers")


def nested() -> object:
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.1)])
    return keras.Sequential([layers.Input((6,)), inner, layers.Dense(3, activation="softmax")])


def test_the_twin_is_the_same_function_in_float64_throughout() -> None:
    model = nested()
    exact = twin(model, "float64")
    x = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    assert {str(weight.dtype) for weight in exact.weights if "float" in str(weight.dtype)} == {"float64"}  # type: ignore[union-attr]
    assert_close(exact.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)  # type: ignore[union-attr, attr-defined]


def test_what_a_layer_was_adapted_to_is_in_the_twin_too() -> None:
    x = (5 + 3 * np.random.default_rng(0).normal(size=(40, 6))).astype(np.float32)
    adapted = layers.Normalization()
    adapted.adapt(x)
    model = keras.Sequential([layers.Input((6,)), adapted, layers.Dense(3, activation="softmax")])
    source = KerasSource(model)
    exact = source.exact(x)
    assert exact is not None
    assert max(distances(*source.answers(x), *exact)) < 1e-6


def test_a_source_knows_its_rounding_or_says_nothing() -> None:
    class Own(layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self, factor: object) -> None:
            super().__init__()
            self.factor = factor

        def call(self, x: object) -> object:
            return x * self.factor

    x = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    source = KerasSource(nested())
    exact = source.exact(x)
    assert exact is not None
    assert {values.dtype for values in exact} == {np.dtype(np.float64)}
    assert 0 < max(distances(*source.answers(x), *exact)) < 1e-6
    own = keras.Sequential([layers.Input((6,)), Own(2.0), layers.Dense(3)])
    assert KerasSource(own).exact(x) is None
