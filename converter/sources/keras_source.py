"""Keras models: live, .keras or .h5. Everything before the last Dense is the backbone, that Dense is the head."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converter.sources.frozen import freeze, write_frozen
from converter.sources.layout import keras_time_axis
from converter.sources.rounding import float64_twin
from converter.sources.source import HeadWeights, first_line, head_kind
from headway.arrays import AnyArray, Float32, Float64
from headway.errors import ModelError
from headway.maths import HeadKind, TimeAxis

PASSIVE_LAYERS = ("Dropout", "ActivityRegularization", "Identity")
ACTIVATION_LAYERS = ("Activation", "Softmax")
RECURRENT_LAYERS = ("GRU", "LSTM", "SimpleRNN")
UNROLLED_STEPS_MAX = 256
PREDICT_ROWS = 256


class KerasSource:
    """A Sequential or Functional model, cut before a Dense layer."""

    formats = ("tflite", "onnx")

    def __init__(self, model: Any, layer: str = "", name: str = "") -> None:
        if not hasattr(model, "layers") or not getattr(model, "inputs", None):
            raise ModelError(
                f"a {type(model).__name__} has no layers to cut; give a built Sequential or Functional model"
            )
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise ModelError(
                f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each is needed: "
                "keras.Model(one input, one output)"
            )
        self._model = model
        self._both: Any = None
        self.name = name or str(model.name)
        self.backbone, self.weights = _cut(model, layer)
        self.input_shape: tuple[int, ...] = tuple(self.backbone.inputs[0].shape[1:])
        if None in self.input_shape or not self.input_shape:
            raise ModelError(
                f"the model takes inputs of shape {self.input_shape}; fix every length: Input((steps, channels))"
            )

    @property
    def time_axis(self) -> TimeAxis | None:
        return keras_time_axis(list(_flat(self.backbone)), len(self.input_shape) + 1)

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        embedding, outputs = self._run(inputs)
        return np.asarray(embedding, np.float32), np.asarray(outputs, np.float32)

    def exact(self, inputs: Float32) -> tuple[Float64, Float64] | None:
        twin = float64_twin(self._model)
        if twin is None:
            return None
        embedding, outputs = KerasSource(twin, self.weights.layer)._run(inputs.astype(np.float64))
        return np.asarray(embedding, np.float64), np.asarray(outputs, np.float64)

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
            embedding, outputs = self._both.predict(inputs, verbose=0, batch_size=PREDICT_ROWS)
            return embedding, outputs
        passes = [part.predict(inputs, verbose=0, batch_size=PREDICT_ROWS) for part in (self.backbone, self._model)]
        return passes[0], passes[1]

    def forms(self) -> tuple[str, ...]:
        """Recurrent layers convert with a batch of one, or unrolled; all others with any batch."""
        recurrent = [layer for layer in _flat(self.backbone) if type(layer).__name__ in RECURRENT_LAYERS]
        if not recurrent:
            return ("any", "one")
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


def load_keras(path: Path, layer: str) -> KerasSource:
    """Open a .keras or .h5 file. Custom layers must be registered with keras.saving."""
    if path.suffix == ".keras" and not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a .keras file, which is a zip archive; it may be cut short: save it again")
    import keras

    try:
        model = keras.models.load_model(path, compile=False)
    except (ValueError, OSError, TypeError, KeyError, AttributeError) as error:
        words = str(error).strip() or type(error).__name__
        raise ModelError(f"{path} is not a model Keras can load: {words.splitlines()[0][:200]}") from error
    return KerasSource(model, layer, path.stem)


def _cut(model: Any, name: str) -> tuple[Any, HeadWeights]:
    """The backbone as a model of its own, and the head's weights."""
    import keras

    last = model.layers[-1] if model.layers else None
    if last is not None and hasattr(last, "layers"):
        if not isinstance(model, keras.Sequential):
            raise ModelError(
                f"the head is inside the nested model {last.name!r}; move that Dense layer to the outer model"
            )
        inner, weights = _cut(last, name)
        return keras.Sequential(
            [keras.Input(model.input_shape[1:]), *model.layers[:-1], inner], name="backbone"
        ), weights
    dense, kind = _head_layer(model, name)
    # nodes of this model's own graph: a layer remembers every call ever made to it, other models' included
    graph = getattr(model, "_functional", None) or model
    nodes = [node for level in graph._nodes_by_depth.values() for node in level if node.operation is dense]
    if len(nodes) != 1:
        raise ModelError(
            f"layer {dense.name!r} is used {len(nodes)} times; a head is used once: give it a layer of its own"
        )
    embedding = nodes[0].input_tensors[0]
    if len(embedding.shape) != 2:
        raise ModelError(
            f"layer {dense.name!r} takes {tuple(embedding.shape)}; a head takes one vector per sample: "
            "pool or flatten before it"
        )
    arrays = [np.asarray(w, np.float32) for w in dense.get_weights()]
    bias = arrays[1] if dense.use_bias else np.zeros(arrays[0].shape[1], np.float32)
    return keras.Model(model.inputs, embedding, name="backbone"), HeadWeights(arrays[0], bias, kind, dense.name)


def _head_layer(model: Any, name: str) -> tuple[Any, HeadKind]:
    """The Dense to cut at, and the link: its own activation or the one of a layer after it."""
    activation: str | None = None
    for layer in reversed(model.layers):
        kind = type(layer).__name__
        if kind == "Dense" and name in ("", layer.name):
            own = layer.activation.__name__
            if activation is not None and own != "linear":
                raise ModelError(f"layer {layer.name!r} has activation {own} and another one after it")
            return layer, head_kind(activation or own, layer.name)
        if kind in ACTIVATION_LAYERS and activation is None:
            activation = "softmax" if kind == "Softmax" else layer.activation.__name__
        elif kind not in PASSIVE_LAYERS:
            break
    dense = [layer.name for layer in model.layers if type(layer).__name__ == "Dense"]
    if name:
        raise ModelError(f"no head {name!r} at the end of the model; its Dense layers are {dense or 'none'}")
    raise ModelError(
        f"the model ends in {type(model.layers[-1]).__name__} {model.layers[-1].name!r}, not in a Dense head; "
        "add a Dense layer with one output per class"
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
