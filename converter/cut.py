"""Finding where a model ends: everything before the last Dense is the backbone, that Dense is the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headway.errors import ModelError
from headway.head import Head, HeadInput, HeadKind

PASSIVE_LAYERS = ("Dropout", "ActivityRegularization", "Identity")
ACTIVATION_LAYERS = ("Activation", "Softmax")


@dataclass(frozen=True, slots=True)
class Cut:
    """backbone: keras.Model (n, *input_shape) -> (n, e); kernel float32 (e, C), bias (C,), and the head's link."""

    backbone: Any
    kernel: np.ndarray[tuple[int, int], np.dtype[np.float32]]
    bias: np.ndarray[tuple[int], np.dtype[np.float32]]
    kind: HeadKind
    layer: str

    def head(self, classes: tuple[str, ...]) -> Head:
        if len(classes) != len(self.bias):
            raise ModelError(
                f"layer {self.layer!r} has {len(self.bias)} outputs, the data names {len(classes)} classes; "
                "give 'classes' in the order of the outputs"
            )
        return Head(self.kernel, self.bias, self.kind, classes, HeadInput.EMBEDDING)


def cut(model: Any) -> Cut:
    """Cut a Keras model before its last Dense. Raises ModelError with what was found and what to do."""
    import keras

    if not hasattr(model, "layers") or not getattr(model, "inputs", None):
        raise ModelError(f"a {type(model).__name__} has no layers to cut; give a built Sequential or Functional model")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; one of each is needed"
        )
    dense, kind = _last_dense(model)
    weights = [np.asarray(w, np.float32) for w in dense.get_weights()]
    bias = weights[1] if dense.use_bias else np.zeros(weights[0].shape[1], np.float32)
    embedding = dense.input
    if len(embedding.shape) != 2:
        raise ModelError(f"layer {dense.name!r} takes {tuple(embedding.shape)}; a head takes one vector per sample")
    return Cut(keras.Model(model.inputs, embedding), weights[0], bias, kind, dense.name)


def _last_dense(model: Any) -> tuple[Any, HeadKind]:
    activation: str | None = None
    for layer in reversed(model.layers):
        kind = type(layer).__name__
        if kind == "Dense":
            own = layer.activation.__name__
            if activation is not None and own != "linear":
                raise ModelError(f"layer {layer.name!r} has activation {own} and another one after it")
            return layer, _kind(activation or own, layer.name)
        if kind in ACTIVATION_LAYERS and activation is None:
            activation = "softmax" if kind == "Softmax" else layer.activation.__name__
        elif kind not in PASSIVE_LAYERS:
            break
    raise ModelError(
        f"the model ends in {type(model.layers[-1]).__name__} {model.layers[-1].name!r}, not in a Dense head; "
        "add a Dense layer with one output per class"
    )


def _kind(activation: str, layer: str) -> HeadKind:
    if activation not in HeadKind.__members__.values():
        known = ", ".join(HeadKind)
        raise ModelError(f"layer {layer!r} ends in activation {activation}; a head ends in one of {known}")
    return HeadKind(activation)
