"""Reads SavedModel folders: freezes the serving signature to a graph of constants, cut at the last matrix product.

A SavedModel holds no layers, only operations, so the head is found by shape: MatMul, BiasAdd, and what follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converter.sources.frozen import freeze, only, write_frozen
from converter.sources.layout import tensorflow_time_axis
from converter.sources.source import HeadWeights, first_line, head_kind
from converter.sources.stable_operators import for_one_window
from headway.arrays import Float32
from headway.errors import ModelError
from headway.maths import TimeAxis

PASSIVE = ("Identity", "NoOp", "StopGradient", "Cast", "Squeeze", "Reshape")
LINKS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax"}
CHUNK_ROWS = 256


class SavedModelSource:
    """The ``serving_default`` signature of a SavedModel with one input and one output."""

    formats = ("tflite", "onnx")

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, layer: str = "", shape: tuple[int, ...] = ()) -> None:
        import tensorflow as tf
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        self.name = path.name
        try:
            self._loaded = tf.saved_model.load(str(path))
            signature = self._loaded.signatures["serving_default"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{path} is not a SavedModel with a serving_default signature: {first_line(error)}"
            ) from error
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"the signature has {len(inputs)} inputs and {len(outputs)} outputs; one of each is needed"
            )
        spec = next(iter(inputs.values()))
        if spec.dtype != tf.float32:
            raise ModelError(
                f"the signature takes {spec.dtype.name} {spec.shape}; it must be float32: save it with a cast behind a "
                "float32 input"
            )
        if shape and spec.shape.is_compatible_with((None, *shape)):
            spec = tf.TensorSpec((None if spec.shape.rank is None else spec.shape[0], *shape), tf.float32)
        if spec.shape.rank is None or None in spec.shape[1:] or (shape and tuple(spec.shape[1:]) != shape):
            raise ModelError(
                f"the signature takes {spec.dtype.name} {spec.shape}; it must be of fixed shape: give --input-shape, "
                "or save it so"
            )
        self.input_shape: tuple[int, ...] = tuple(spec.shape[1:])
        self._batch, self._layer = spec.shape[0], layer
        name = next(iter(inputs))
        self._serve = lambda x: next(iter(signature(**{name: x}).values()))
        if shape:
            self._predict = freeze(self._serve, (self._batch, *self.input_shape))
        else:
            self._predict = convert_variables_to_constants_v2(signature)
        self._embed, self.weights = self._cut(self._predict)

    @property
    def time_axis(self) -> TimeAxis | None:
        return tensorflow_time_axis(self._embed.graph, self._embed.inputs[0].name, len(self.input_shape) + 1)

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        return self._run(self._embed, inputs), self.weights.link(self._run(self._predict, inputs))

    def exact(self, inputs: Float32) -> None:
        return None  # its graph is fixed to float32

    def forms(self) -> tuple[str, ...]:
        return ("any", "one") if self._batch is None else ("one",)

    def save(self, folder: Path, form: str) -> None:
        embed, batch = self._embed, 1 if form == "one" else None
        if batch != self._batch:  # loops need to know their batch
            embed, _ = self._cut(for_one_window(freeze(self._serve, (batch, *self.input_shape))))
        write_frozen(embed, (batch, *self.input_shape), folder)

    def _cut(self, frozen: Any) -> tuple[Any, HeadWeights]:
        """The backbone of the whole model, and its head."""
        product, weights = _find_head(frozen, self._layer)
        return frozen.prune(frozen.inputs[0].name, product.inputs[0].name), weights

    def _run(self, function: Any, inputs: Float32) -> Float32:
        import tensorflow as tf

        step = self._batch or CHUNK_ROWS
        if len(inputs) % step and self._batch:
            raise ModelError(f"the SavedModel takes batches of {step} only; export it with a free batch size")
        try:
            parts = [
                np.asarray(only(function(tf.constant(inputs[start : start + step]))), np.float32)
                for start in range(0, len(inputs), step)
            ]
        except Exception as error:  # operations raise what they like
            raise ModelError(f"the model cannot be run: {first_line(error)}") from error
        return np.concatenate(parts)


def _find_head(frozen: Any, layer: str) -> tuple[Any, HeadWeights]:
    """The MatMul operation of the head and its constants, walking back from the output."""
    operation = frozen.outputs[0].op
    link, bias = "linear", None
    while True:
        if operation.type in LINKS and link == "linear" and bias is None:
            link = LINKS[operation.type]
        elif operation.type in ("BiasAdd", "AddV2", "Add") and bias is None:
            bias = _constant(operation.inputs[1])
            if bias is None:
                break
        elif operation.type == "MatMul":
            kernel = _constant(operation.inputs[1])
            if kernel is None or operation.get_attr("transpose_a"):
                break
            kernel = kernel.T.copy() if operation.get_attr("transpose_b") else kernel
            if layer and layer not in operation.name.split("/"):
                break
            if bias is None:
                bias = np.zeros(kernel.shape[1], np.float32)
            where = operation.name
            if operation.inputs[0].shape.rank not in (None, 2):
                raise ModelError(
                    f"{where!r} takes {tuple(operation.inputs[0].shape)}; a head takes one vector per sample: pool or "
                    "flatten before it"
                )
            kind = head_kind(link, where)
            return operation, HeadWeights(kernel, bias.reshape(-1), kind, where, link == "log_softmax")
        elif operation.type not in PASSIVE:
            break
        if not operation.inputs:
            break
        operation = operation.inputs[0].op
    raise ModelError(
        f"the graph ends in {operation.type} {operation.name!r}, not in MatMul + BiasAdd with constant weights"
        f"{f' named {layer!r}' if layer else ''}; save it with a Dense head of its own, or give the .keras file"
    )


def _constant(tensor: Any) -> Float32 | None:
    import tensorflow as tf

    operation = tensor.op
    while operation.type in PASSIVE and operation.inputs:
        operation = operation.inputs[0].op
    if operation.type != "Const":
        return None
    return np.asarray(tf.make_ndarray(operation.get_attr("value")), np.float32)
