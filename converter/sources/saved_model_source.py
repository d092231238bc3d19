"""Reads SavedModel folders: freezes the serving signature to a graph of constants, cut before its head
(converter/sources/saved_model_head.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converter.sources.frozen import freeze, only, write_frozen
from converter.sources.layout import tensorflow_time_axis
from converter.sources.saved_model_head import find_head
from converter.sources.source import HeadWeights, first_line
from converter.sources.stable_operators import for_one_window
from headway.arrays import Float32
from headway.errors import ModelError
from headway.maths import TimeAxis

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
        cut = find_head(frozen, self._layer)
        backbone = frozen.prune(frozen.inputs[0].name, cut.at.name)
        vectors = cut.vectors
        if vectors is None:
            return backbone, cut.weights
        return freeze(lambda x: vectors(only(backbone(x))), tuple(frozen.inputs[0].shape)), cut.weights

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
