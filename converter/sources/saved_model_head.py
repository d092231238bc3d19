"""The cut of a SavedModel's frozen graph. It holds no layers, only operations, so the head is found by shape.

Walking back from the output: a link, changes of shape, a mean over places, then MatMul or a convolution that sees one
place at a time or all of them at once, with constant weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.sources.source import HeadWeights, head_kind
from headway.arrays import Float32
from headway.errors import ModelError

PASSIVE = ("Identity", "NoOp", "StopGradient", "Cast", "Squeeze", "Reshape")
LINKS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax"}


@dataclass(frozen=True, slots=True)
class Cut:
    """at: the tensor before the head; vectors: makes the embedding (n, e) of it, None where it is that already."""

    at: Any
    weights: HeadWeights
    vectors: Callable[[Any], Any] | None = None


def find_head(frozen: Any, layer: str) -> Cut:
    """Where to cut a frozen function. layer: '' for any. Raises ModelError that says what the walk ended at."""
    operation = frozen.outputs[0].op
    link, bias, mean = "linear", None, None
    while True:
        wanted = not layer or layer in operation.name.split("/")
        kind = operation.type
        if kind in LINKS and link == "linear" and bias is None and mean is None:
            link = LINKS[kind]
        elif kind in ("BiasAdd", "AddV2", "Add") and bias is None:
            bias = _constant(operation.inputs[1])
            if bias is None:
                break
        elif kind == "MatMul" and mean is None:
            kernel = _constant(operation.inputs[1])
            if kernel is None or operation.get_attr("transpose_a") or not wanted:
                break
            kernel = kernel.T.copy() if operation.get_attr("transpose_b") else kernel
            return _product(operation, kernel, bias, link)
        elif kind == "Conv2D" and wanted:
            found = _convolution(operation, bias, link, mean)
            if found is None:
                break
            return found
        elif kind in ("Mean", "AvgPool") and mean is None and bias is None and _over_all_places(operation):
            mean = operation
        elif kind not in PASSIVE:
            break
        if not operation.inputs:
            break
        operation = operation.inputs[0].op
    if mean is not None and not layer:  # not linear before the mean, which then is the embedding
        size = mean.outputs[0].shape[-1]
        kept = _weights(np.eye(size, dtype=np.float32), None, link, mean.name)
        return Cut(mean.outputs[0], kept, _flat(size))
    raise ModelError(
        f"the graph ends in {operation.type} {operation.name!r}, not in MatMul + BiasAdd, or a pointwise convolution, "
        f"with constant weights{f' named {layer!r}' if layer else ''}; save it with a Dense head of its own, or give "
        "the .keras file"
    )


def _product(operation: Any, kernel: Float32, bias: Any, link: str) -> Cut:
    given = operation.inputs[0]
    if given.shape.rank not in (None, 2):
        raise ModelError(
            f"{operation.name!r} takes {tuple(given.shape)}; a head takes one vector per sample: pool or flatten "
            "before it"
        )
    return Cut(given, _weights(kernel, bias, link, operation.name))


def _convolution(operation: Any, bias: Any, link: str, mean: Any) -> Cut | None:
    """A convolution as a matrix product; None for one that is none, or whose weights are no constants.

    Raises ModelError for one that gives several places, with no mean after it.
    """
    kernel, given = _constant(operation.inputs[1]), operation.inputs[0]
    places = tuple(given.shape[1:3])
    if kernel is None or operation.get_attr("data_format") != b"NHWC" or kernel.shape[2] != given.shape[-1]:
        return None
    pointwise = kernel.shape[:2] == (1, 1) and set(operation.get_attr("strides")) == {1}
    weights = _weights(kernel.reshape(-1, kernel.shape[-1]), bias, link, operation.name)
    if mean is not None:
        return Cut(given, weights, _mean) if pointwise else None
    whole = kernel.shape[:2] == places and operation.get_attr("padding") == b"VALID"
    if whole or (pointwise and set(places) == {1}):
        return Cut(given, weights, _flat(len(weights.kernel)))
    raise ModelError(
        f"{operation.name!r} is a convolution of {kernel.shape[:2]} over {places} places; a head sees one vector per "
        "sample: add GlobalAveragePooling and a Dense with one output per class"
    )


def _weights(kernel: Float32, bias: Any, link: str, where: str) -> HeadWeights:
    filled = np.zeros(kernel.shape[1], np.float32) if bias is None else bias.reshape(-1)
    return HeadWeights(np.ascontiguousarray(kernel), filled, head_kind(link, where), where, link == "log_softmax")


def _over_all_places(operation: Any) -> bool:
    """A mean of everything between the batch and the channels, which are last."""
    shape = operation.inputs[0].shape
    if shape.rank not in (3, 4):
        return False
    if operation.type == "AvgPool":
        whole = [1, *shape[1:3], 1]
        return bool(operation.get_attr("data_format") == b"NHWC" and list(operation.get_attr("ksize")) == whole)
    axes = _constant(operation.inputs[1])
    return axes is not None and {int(axis) % shape.rank for axis in axes.reshape(-1)} == set(range(1, shape.rank - 1))


def _mean(places: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(places, axis=(1, 2))


def _flat(size: int) -> Callable[[Any], Any]:
    def reshaped(values: Any) -> Any:
        import tensorflow as tf

        return tf.reshape(values, (-1, size))

    return reshaped


def _constant(tensor: Any) -> Float32 | None:
    import tensorflow as tf

    operation = tensor.op
    while operation.type in PASSIVE and operation.inputs:
        operation = operation.inputs[0].op
    if operation.type != "Const":
        return None
    return np.asarray(tf.make_ndarray(operation.get_attr("value")), np.float32)
