"""The cut of a Keras model: the layer that is its head, the link after it, and the backbone before it.

The head is the last layer that is linear in one vector per window: a Dense, or a convolution that sees one place at a
time or all of them at once. What follows it may be an activation in any form, dropout, a change of shape, and a mean
over places, which can as well be taken before: mean(x W + b) = mean(x) W + b.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from converter.sources.source import PROBE, HeadWeights, head_kind, link_of
from headway.arrays import Float32
from headway.errors import ModelError

PASSIVE_LAYERS = ("Dropout", "SpatialDropout1D", "SpatialDropout2D", "ActivityRegularization", "Identity")
SHAPING_LAYERS = ("Flatten", "Reshape")
MEAN_LAYERS = ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D")
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")


def cut(model: Any, name: str) -> tuple[Any, HeadWeights]:
    """The backbone as a model of its own, and the head's weights. name: of the head, '' for the last one."""
    import keras

    last = model.layers[-1] if model.layers else None
    if isinstance(last, keras.Model) and getattr(last, "inputs", None):
        if not isinstance(model, keras.Sequential):
            raise ModelError(
                f"the head is inside the nested model {last.name!r}; move that Dense layer to the outer model"
            )
        inner, weights = cut(last, name)
        return keras.Sequential(
            [keras.Input(model.input_shape[1:]), *model.layers[:-1], inner], name="backbone"
        ), weights
    head, link, mean, bent = _head_layer(model, name)
    graph = getattr(model, "_functional", None) or model
    # nodes of this model's own graph: a layer remembers every call ever made to it, other models' included
    nodes = [node for level in graph._nodes_by_depth.values() for node in level if node.operation is head]
    if len(nodes) != 1:
        raise ModelError(
            f"layer {head.name!r} is used {len(nodes)} times; a head is used once: give it a layer of its own"
        )
    convolution = type(head).__name__ in CONVOLUTIONS
    bent = bent or (mean is not None and convolution and set(head.kernel_size) != {1})
    if bent:  # not linear before the mean: what the mean gives is the embedding, under a head that changes nothing
        embedding = mean.output
        kernel, bias = np.eye(embedding.shape[-1], dtype=np.float32), np.zeros(embedding.shape[-1], np.float32)
    else:
        embedding, kernel = _embedding(head, nodes[0].input_tensors[0], mean)
        bias = np.asarray(head.get_weights()[1], np.float32) if head.use_bias else np.zeros(kernel.shape[1], np.float32)
    where = mean.name if bent else head.name
    weights = HeadWeights(kernel, bias, head_kind(link, where), where, link == "log_softmax")
    return keras.Model(model.inputs, embedding, name="backbone"), weights


def _embedding(head: Any, given: Any, mean: Any) -> tuple[Any, Float32]:
    """The tensor (n, e) that the head's kernel float32 (e, C) multiplies."""
    import keras

    kernel = np.asarray(head.get_weights()[0], np.float32)
    if type(head).__name__ == "Dense":
        if len(given.shape) == 2:
            return given, kernel
        if mean is not None:
            return _mean(mean)(given), kernel
        places = given.shape[1:-1]
    else:
        last = head.data_format == "channels_last"
        places = given.shape[1:-1] if last else given.shape[2:]
        whole = tuple(head.kernel_size) == tuple(places) and head.padding == "valid" and head.groups == 1
        pointwise = set(head.kernel_size) == {1} and head.groups == 1 and (set(head.strides) == {1} or whole)
        if pointwise and mean is not None:
            return _mean(mean)(given), kernel.reshape(-1, kernel.shape[-1])
        if whole and last and mean is None:
            return keras.layers.Flatten()(given), kernel.reshape(-1, kernel.shape[-1])
        if not pointwise:
            raise ModelError(
                f"layer {head.name!r} is a convolution of {tuple(head.kernel_size)} over {tuple(places)} places; a "
                "head sees one vector per sample: add GlobalAveragePooling and a Dense with one output per class"
            )
    if all(place == 1 for place in places):
        return keras.layers.Reshape((kernel.shape[-2],))(given), kernel.reshape(-1, kernel.shape[-1])
    raise ModelError(
        f"layer {head.name!r} takes {tuple(given.shape)}; a head takes one vector per sample: pool or flatten before it"
    )


def _mean(layer: Any) -> Any:
    """The same mean, of the head's input, as vectors."""
    return type(layer)(data_format=layer.data_format)


def _head_layer(model: Any, name: str) -> tuple[Any, str, Any, bool]:
    """The layer to cut at; the link, its own activation or that of a layer after it; the mean after it, if any; and
    whether an activation before that mean keeps the two from changing places."""
    link, mean, bent = "linear", None, False
    for layer in reversed(model.layers):
        kind = type(layer).__name__
        if (kind == "Dense" or kind in CONVOLUTIONS) and name in ("", layer.name):
            own = link_of(layer.activation, run_keras)
            if own == "linear":
                return layer, link, mean, bent
            if mean is not None and not bent:
                return layer, link, mean, True
            if bent or link != "linear":
                raise ModelError(f"layer {layer.name!r} has activation {own} and another one after it")
            return layer, own, mean, False
        if kind in ("Activation", "Softmax", "ReLU"):
            found = link_of(layer.activation if kind == "Activation" else layer, run_keras)
            if mean is not None:
                bent = bent or found != "linear"
            elif link == "linear" and kind != "ReLU":
                link = found
            elif found != "linear":
                break
        elif kind in MEAN_LAYERS and mean is None:
            mean = layer
        elif kind not in (*PASSIVE_LAYERS, *SHAPING_LAYERS):
            break
    dense = [layer.name for layer in model.layers if type(layer).__name__ in ("Dense", *CONVOLUTIONS)]
    if name:
        raise ModelError(f"no head {name!r} at the end of the model; its Dense layers are {dense or 'none'}")
    raise ModelError(
        f"the model ends in {type(model.layers[-1]).__name__} {model.layers[-1].name!r}, not in a Dense head; "
        "add a Dense layer with one output per class"
    )


def run_keras(activation: Callable[[Any], Any]) -> Float32:
    """What an activation, in any form that Keras takes, makes of the logits `PROBE`, float32 (n, 3)."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(PROBE))), np.float32)
