"""Turns a TensorFlow function into one graph of constants, and writes that graph as a SavedModel.

A SavedModel of a Keras model holds its variables and a function per layer, and TensorFlow's converter reads it twice
for every conversion. Frozen first, the same conversions take a third of the time (docs/adr/0016). Nor can the weights
get lost on the way: `from_concrete_functions` drops those of a Keras 3 model without an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from converter.sources.stable_operators import in_stable_form
from headway.errors import ModelError


def freeze(function: Callable[[Any], Any], shape: tuple[int | None, ...]) -> Any:
    """Trace `function` on a float32 tensor of `shape` (batch first, None for any) and make its variables constants.

    Returns a concrete function of one tensor; loops stay loops, which TFLite needs. Raises ModelError when the
    function keeps state that cannot become a constant.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    traced = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, name="x")], autograph=False)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function(), lower_control_flow=False)
    if len(frozen.inputs) != 1:
        kept = [tensor.name for tensor in frozen.inputs[1:]]
        raise ModelError(f"the backbone reads {kept} that cannot be frozen, such as a lookup table; do that before it")
    return frozen


def write_frozen(frozen: Any, shape: tuple[int | None, ...], folder: Path) -> None:
    """Write the ``serving_default`` signature x -> embedding of a frozen function as a SavedModel."""
    import tensorflow as tf

    function = in_stable_form(frozen)
    module = tf.Module()
    signature = [tf.TensorSpec(shape, tf.float32, name="x")]
    module.serve = tf.function(lambda x: only(function(x)), input_signature=signature, autograph=False)
    # nobody asks for gradients of a frozen backbone, and those of swish cannot be saved with it
    plain = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    served = module.serve.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": served}, options=plain)


def only(result: Any) -> Any:
    """The one tensor of a concrete function's result, which may or may not come as a list."""
    return result[0] if isinstance(result, (list, tuple)) else result
