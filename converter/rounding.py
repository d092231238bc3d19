"""How far a model's own float32 answers are from the same computation in float64.

Two float32 computations of one function, in another order or with folded constants, cannot agree better than each
agrees with the exact result. A deep backbone enlarges what it rounds: MobileNetV2 differs from its own float64 twin
by 1e-6 to 1e-5 (benchmarks/README.md). Nobody can write a float32 backbone that is closer to such a model than that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headway.arrays import Float32

ROUNDINGS = 4.0  # a runtime rounds in an order of its own and folds constants once more: measured 1 to 3.4 times


def float64_twin(model: Any) -> Any | None:
    """The Keras model with every layer, nested ones too, in float64; None for layers that cannot be had so."""
    import keras

    def exact(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": "float64"})

    try:
        twin = keras.models.clone_model(model, clone_function=exact, recursive=True)
        twin.set_weights(model.get_weights())
    except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError):
        return None  # a layer with a mind of its own; what is asked for then stays at the plain limit
    floating = [str(weight.dtype) for weight in twin.weights if "float" in str(weight.dtype)]
    return twin if set(floating) <= {"float64"} else None


def scaled_difference(found: Any, exact: Any, floor: float) -> float:
    """max |found - exact| over the largest exact value, which counts as at least `floor`."""
    return float(np.abs(found - exact).max()) / max(float(np.abs(exact).max()), floor)


def own_rounding(model: Any, twin: Any, inputs: Float32) -> float:
    """scaled_difference of a model's outputs from its twin's. inputs: float32 (n, ...)."""
    exact = np.asarray(twin.predict(inputs.astype(np.float64), verbose=0), np.float64)
    return scaled_difference(np.asarray(model.predict(inputs, verbose=0)), exact, 1.0)
