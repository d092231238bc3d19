"""The cut of a Keras model: the layer that is its head, the link after it, and the backbone before it.

The head is the last layer that is linear in one vector per window: a Dense, or a convolution that sees one place at a
time or all of them at once. What follows it may be an activation in any form, dropout, a change of shape, and a mean
over places, which can as well be taken before: mean(x W + b) = mean(x) W + b. A batch normalisation, rescaling or
(de)normalisation of its outputs becomes part of its weights: (x W + b) s + t = x (W s) + (b s + t).
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
SCALING_LAYERS = ("BatchNormalization", "Normalization", "Rescaling")
MEAN_LAYERS = ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D")
ACTIVATIONS = ("Activation", "Softmax", "ReLU", "Relu", "Sigmoid", "LogSoftmax")  # layers, and functions of keras.ops
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")


def cut(model: Any, name: str) -> tuple[Any, HeadWeights]:
    """The backbone as a model of its own, and the head's weights. name: of the head, '' for the last one."""
    import keras

    graph = getattr(model, "_functional", None) or model
    last = model.layers[-1] if model.layers else None
    if isinstance(last, keras.Model) and getattr(last, "inputs", None) and _after(graph, last) == []:
        inner, weights = cut(last, name)
        return keras.Model(model.inputs, inner(_used_once(graph, last).input_tensors[0]), name="backbone"), weights
    head, link, mean, bent, scalings = _head_layer(model, name)
    node = _used_once(graph, head)
    convolution = type(head).__name__ in CONVOLUTIONS
    bent = bent or (mean is not None and convolution and set(head.kernel_size) != {1})
    if bent:  # not linear before the mean: what the mean gives is the embedding, under a head that changes nothing
        embedding = keras.layers.Flatten()(mean.output) if len(mean.output.shape) > 2 else mean.output
        kernel, bias = np.eye(embedding.shape[-1], dtype=np.float32), np.zeros(embedding.shape[-1], np.float32)
    else:
        embedding, kernel = _embedding(head, node.input_tensors[0], mean)
        bias = np.asarray(head.bias, np.float32) if head.use_bias else np.zeros(kernel.shape[1], np.float32)
    for layer in scalings:
        factor, shift = _scaling(layer, len(bias))
        kernel, bias = kernel * factor, bias * factor + shift
    where = mean.name if bent else head.name
    weights = HeadWeights(kernel, bias, head_kind(link, where), where, link == "log_softmax")
    return keras.Model(model.inputs, embedding, name="backbone"), weights


def _scaling(layer: Any, outputs: int) -> tuple[Float32, Float32]:
    """The factor and the shift, float32 (C,), that a layer gives each of so many values."""
    import keras

    kind = type(layer).__name__
    if kind == "Rescaling":
        factor, shift = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    elif kind == "Normalization":
        mean, variance = (np.asarray(one, np.float64).reshape(-1) for one in (layer.mean, layer.variance))
        spread = np.maximum(np.sqrt(variance), keras.backend.epsilon())
        factor, shift = (spread, mean) if layer.invert else (1 / spread, -mean / spread)
    else:
        variance = np.asarray(layer.moving_variance, np.float64)
        factor = (np.asarray(layer.gamma, np.float64) if layer.scale else 1.0) / np.sqrt(variance + layer.epsilon)
        shift = (np.asarray(layer.beta, np.float64) if layer.center else 0.0) - np.asarray(layer.moving_mean) * factor
    return np.broadcast_to(np.float32(factor), outputs), np.broadcast_to(np.float32(shift), outputs)


def _is_scaling(layer: Any) -> bool:
    """Of the values of one vector, each by itself."""
    kind = type(layer).__name__
    if kind not in SCALING_LAYERS or len(layer.output.shape) != 2:
        return False
    return kind == "Rescaling" or layer.axis in (-1, 1, (-1,), (1,), [-1], [1])


def _operations(graph: Any) -> list[Any]:
    """Layers, and functions of keras.ops between them, in their order."""
    return list(getattr(graph, "operations", graph.layers))


def _after(graph: Any, layer: Any) -> list[Any]:
    operations = _operations(graph)
    return operations[operations.index(layer) + 1 :] if layer in operations else [layer]


def _used_once(graph: Any, layer: Any) -> Any:
    """The node of the one call of a layer in this graph. Raises ModelError when there are more."""
    # nodes of this model's own graph: a layer remembers every call ever made to it, other models' included
    nodes = [node for level in graph._nodes_by_depth.values() for node in level if node.operation is layer]
    if len(nodes) != 1:
        raise ModelError(
            f"layer {layer.name!r} is used {len(nodes)} times; a head is used once: give it a layer of its own"
        )
    return nodes[0]


def _embedding(head: Any, given: Any, mean: Any) -> tuple[Any, Float32]:
    """The tensor (n, e) that the head's kernel float32 (e, C) multiplies."""
    import keras

    if getattr(head, "quantization_mode", None):
        mode = head.quantization_mode
        raise ModelError(f"layer {head.name!r} is quantised ({mode}); give the model as it was before quantize()")
    kernel = np.asarray(head.kernel, np.float32)  # LoRA's share included
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
    import keras

    return getattr(keras.layers, f"GlobalAveragePooling{type(layer).__name__[-2:]}")(data_format=layer.data_format)


def _is_mean(layer: Any) -> bool:
    """Over all places: a global one, or one whose pool is the whole map."""
    kind = type(layer).__name__
    if kind in MEAN_LAYERS:
        return True
    if not kind.startswith("AveragePooling") or layer.padding != "valid":
        return False
    last = layer.data_format == "channels_last"
    places = layer.input.shape[1:-1] if last else layer.input.shape[2:]
    return tuple(layer.pool_size) == tuple(places)


def _head_layer(model: Any, name: str) -> tuple[Any, str, Any, bool, list[Any]]:
    """The layer to cut at; the link, its own activation or that of a layer after it; the mean after it, if any; whether
    an activation before that mean keeps the two from changing places; and the layers that scale its outputs, in their
    order."""
    link, mean, bent = "linear", None, False
    scalings: list[Any] = []
    operations = _operations(getattr(model, "_functional", None) or model)
    for layer in reversed(operations):
        kind = type(layer).__name__
        if (kind == "Dense" or kind in CONVOLUTIONS) and name in ("", layer.name):
            own = link_of(layer.activation, run_keras)
            if own == "linear":
                return layer, link, mean, bent, scalings
            if mean is not None and not bent:
                return layer, link, mean, True, scalings
            if scalings:
                raise ModelError(
                    f"layer {layer.name!r} has activation {own}, and {scalings[0].name!r} scales what it gives; a head "
                    "ends in its activation: leave that layer out, or put it before the activation"
                )
            if bent or link != "linear":
                raise ModelError(f"layer {layer.name!r} has activation {own} and another one after it")
            return layer, own, mean, False, scalings
        if kind in ACTIVATIONS and not (scalings and link == "linear"):
            found = link_of(layer.activation if kind == "Activation" else layer, run_keras)
            if mean is not None:
                bent = bent or found != "linear"
            elif link == "linear" and kind not in ("ReLU", "Relu"):
                link = found
            elif found != "linear":
                break
        elif mean is None and _is_scaling(layer):
            scalings.insert(0, layer)
        elif mean is None and _is_mean(layer):
            mean = layer
        elif kind not in (*PASSIVE_LAYERS, *SHAPING_LAYERS):
            break
    dense = [layer.name for layer in model.layers if type(layer).__name__ in ("Dense", *CONVOLUTIONS)]
    if name:
        raise ModelError(f"no head {name!r} at the end of the model; its Dense layers are {dense or 'none'}")
    end, found = operations[-1], f"{type(layer).__name__} {layer.name!r}"
    told = f"the model ends in {found}" if layer is end else f"the model ends in {end.name!r} after {found}"
    raise ModelError(f"{told}, not in a Dense head; add a Dense layer with one output per class")


def run_keras(activation: Callable[[Any], Any]) -> Float32:
    """What an activation, in any form that Keras takes, makes of the logits `PROBE`, float32 (n, 3)."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(PROBE))), np.float32)
