"""Cuts Keras models before their head: what they answer, in float32 and float64, and their backbone written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converter.sources.frozen import freeze, write_frozen
from converter.sources.keras_head import cut
from converter.sources.layout import keras_time_axis
from converter.sources.rounding import twin
from converter.sources.source import first_line
from headway.arrays import AnyArray, Float32, Float64
from headway.errors import ModelError
from headway.maths import TimeAxis

RECURRENT_LAYERS = ("GRU", "LSTM", "SimpleRNN")
UNROLLED_STEPS_MAX = 256
PREDICT_ROWS = 256
PREDICT_VALUES_MAX = 1 << 20  # of a batch's input: what layers hold of it is many times more


class KerasSource:
    """A Sequential or Functional model, cut before a Dense layer."""

    formats = ("tflite", "onnx")

    def __init__(self, model: Any, layer: str = "", name: str = "", shape: tuple[int, ...] = ()) -> None:
        if not hasattr(model, "layers") or not getattr(model, "inputs", None):
            raise ModelError(
                f"a {type(model).__name__} has no layers to cut; give a built Sequential or Functional model"
            )
        _refuse_several(model)
        self.name = name or str(model.name)
        model, self.notes = _plain_float32(_of_shape(model, shape))
        self._model = model
        self._both: Any = None
        self._layer = layer
        self.backbone, self.weights = cut(model, layer)
        self.input_shape: tuple[int, ...] = tuple(self.backbone.inputs[0].shape[1:])
        self._batch: int | None = model.inputs[0].shape[0]
        if None in self.input_shape or not self.input_shape:
            raise ModelError(
                f"the model takes inputs of shape {self.input_shape}; fix every length with --input-shape, or in the "
                "model: Input((steps, channels))"
            )
        for part in _flat(model):
            if getattr(part, "stateful", False) and type(part).__name__ in RECURRENT_LAYERS:
                raise ModelError(
                    f"layer {part.name!r} is stateful: it remembers the windows before, a device takes each by itself; "
                    "build the model with stateful=False and give it the same weights"
                )
        if self._batch not in (None, 1):
            raise ModelError(f"the model takes batches of {self._batch}; build it with a free batch size")

    @property
    def _rows(self) -> int:
        """Windows of a batch."""
        values = int(np.prod(self.input_shape))
        return self._batch or max(1, min(PREDICT_ROWS, PREDICT_VALUES_MAX // values))

    @property
    def time_axis(self) -> TimeAxis | None:
        return keras_time_axis(list(_flat(self.backbone)), len(self.input_shape) + 1)

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        embedding, outputs = self._run(inputs)
        return np.asarray(embedding, np.float32), self.weights.link(np.asarray(outputs, np.float32))

    def exact(self, inputs: Float32) -> tuple[Float64, Float64] | None:
        exact = twin(self._model, "float64")
        if exact is None:
            return None
        backbone, _ = cut(exact, self._layer)
        embedding, outputs = (
            part.predict(inputs.astype(np.float64), verbose=0, batch_size=self._rows) for part in (backbone, exact)
        )
        return np.asarray(embedding, np.float64), np.asarray(self.weights.link(outputs), np.float64)

    def _run(self, inputs: AnyArray) -> tuple[Any, Any]:
        try:
            return self._predicted(inputs)
        except Exception as error:  # layers raise what they like
            raise ModelError(f"the model cannot be run: {first_line(error)}") from error

    def _predicted(self, inputs: AnyArray) -> tuple[Any, Any]:
        """Embeddings and outputs, in one pass where the model's graph is all there is to it."""
        import keras

        plain = type(self._model) in (keras.Sequential, type(self.backbone))  # a subclass may have a call of its own
        if plain and self.backbone.inputs[0] is self._model.inputs[0]:  # else the backbone was put together anew
            if self._both is None:  # kept, with what TensorFlow made of it
                self._both = keras.Model(self._model.inputs, [self.backbone.outputs[0], self._model.outputs[0]])
            embedding, outputs = self._both.predict(inputs, verbose=0, batch_size=self._rows)
            return embedding, outputs
        passes = [part.predict(inputs, verbose=0, batch_size=self._rows) for part in (self.backbone, self._model)]
        return passes[0], passes[1]

    def forms(self) -> tuple[str, ...]:
        """Recurrent layers convert with a batch of one, or unrolled; all others with any batch."""
        recurrent = [layer for layer in _flat(self.backbone) if type(layer).__name__ in RECURRENT_LAYERS]
        if not recurrent:
            return ("any", "one") if self._batch is None else ("one",)
        if self._batch is not None:
            return ("one",)
        return ("one", "unrolled") if self.input_shape[0] <= UNROLLED_STEPS_MAX else ("one",)

    def save(self, folder: Path, form: str) -> None:
        if str(self.backbone.inputs[0].dtype) != "float32":
            raise ModelError(
                f"the model takes {self.backbone.inputs[0].dtype} inputs; put a cast behind a float32 Input"
            )
        recurrent = [layer for layer in _flat(self.backbone) if type(layer).__name__ in RECURRENT_LAYERS]
        before = [layer.unroll for layer in recurrent]
        try:
            for layer in recurrent:
                layer.unroll = form == "unrolled"
            backbone, shape = self.backbone, (1 if form == "one" else None, *self.input_shape)
            frozen = freeze(lambda x: backbone(x, training=False), shape)
            write_frozen(frozen, shape, folder)
        finally:
            for layer, unroll in zip(recurrent, before, strict=True):
                layer.unroll = unroll


def _refuse_several(model: Any) -> None:
    if len(model.inputs) == len(model.outputs) == 1:
        return
    recipe = "keras.Model(one input, one output)"
    if len(model.inputs) > 1:
        shapes = ", ".join(f"{tensor.name} {tuple(tensor.shape[1:])}" for tensor in model.inputs)
        recipe = (
            f"put one Input before them ({shapes}) that holds all values, cut it up inside, and call the model on the "
            "parts: keras.Model(x, model([x[..., :3], x[..., 3:]]))"
        )
    raise ModelError(
        f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each is needed: {recipe}"
    )


def _of_shape(model: Any, shape: tuple[int, ...]) -> Any:
    """The same model for windows of `shape`, where it leaves lengths free."""
    import keras

    own = tuple(model.inputs[0].shape[1:])
    if not shape or shape == own:
        return model
    if len(shape) != len(own) or any(length not in (None, given) for length, given in zip(own, shape, strict=True)):
        raise ModelError(f"--input-shape {shape} does not fit the model, which takes {own}")
    try:
        fixed = keras.models.clone_model(model, input_tensors=keras.Input(shape, dtype=model.inputs[0].dtype))
        fixed.set_weights(model.get_weights())
    except Exception as error:  # layers raise what they like
        raise ModelError(f"the model cannot be built for windows of {shape}: {first_line(error)}") from error
    return fixed


def _plain_float32(model: Any) -> tuple[Any, tuple[str, ...]]:
    """The model in float32 throughout, and what has to be said of that."""
    others = {str(layer.compute_dtype) for layer in _flat(model) if hasattr(layer, "compute_dtype")} - {"float32"}
    others = {dtype for dtype in others if "float" in dtype}
    if not others:
        return model, ()
    told = " and ".join(sorted(others))
    plain = twin(model, "float32")
    if plain is None:
        raise ModelError(f"the model computes in {told}; build it under the policy float32, with the same weights")
    return plain, (
        f"the model computes in {told}; the same weights were converted, and compared, in float32: what it answers "
        f"itself is rounded to {told}",
    )


def _flat(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        inner = getattr(layer, "layers", None) or [
            getattr(layer, part) for part in ("layer", "forward_layer", "backward_layer") if hasattr(layer, part)
        ]
        if hasattr(layer, "layers"):
            yield from _flat(layer)
        else:
            yield layer
            yield from inner
