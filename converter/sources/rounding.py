"""Computes a model in float64, and measures how far its float32 answers are from that.

Two float32 computations of one function, in another order or with folded constants, cannot agree better than each
agrees with the exact result. A deep backbone enlarges what it rounds: MobileNetV2 differs from its own float64 twin
by up to 1.4e-5 (docs/adr/0015). Nobody can write a float32 backbone that is sure to be closer to such a model.
"""

from __future__ import annotations

from typing import Any

ROUNDINGS = 2.0  # a runtime rounds in an order of its own: measured 0.7 to 0.9 times the source's own distance


def twin(model: Any, dtype: str) -> Any | None:
    """The Keras model with every layer, nested ones too, in `dtype`; None for layers that cannot be had so."""
    import keras

    def exact(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "dtype": dtype})

    try:
        made = keras.models.clone_model(model, clone_function=exact, recursive=True)
        made.set_weights(model.get_weights())
    except (TypeError, ValueError, AttributeError, RuntimeError):
        # a layer of the user's own that cannot be made from what it says of itself, which its code tells in these ways;
        # what is asked for then stays at the plain limit
        return None
    for layer in made._flatten_layers():
        if hasattr(layer, "finalize_state"):  # Normalization computes with copies of what it was adapted to
            layer.finalize_state()
    floating = [str(weight.dtype) for weight in made.weights if "float" in str(weight.dtype)]
    return made if set(floating) <= {dtype} else None
