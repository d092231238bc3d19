"""Which axis of a model's input is time: the one that its first convolution or recurrence runs along.

Each axis of the input is followed, by its number, through operations that only move axes, to the first one that
tells channels from the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headway.maths import TimeAxis

ELEMENTWISE = {
    "Identity", "Cast", "Relu", "Clip", "Dropout", "Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sqrt", "Tanh", "Sigmoid",
    "LeakyRelu",
}  # fmt: skip
CHANNELS_SECOND = {
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization",
    "InstanceNormalization",
}  # fmt: skip
CHANNELS_LAST = {"LSTM", "GRU", "RNN", "MatMul", "LayerNormalization"}
KERAS_CHANNELS_LAST = {
    "LSTM", "GRU", "SimpleRNN", "Bidirectional", "Dense", "LayerNormalization", "MultiHeadAttention", "TimeDistributed",
}  # fmt: skip
KERAS_UNMOVED = {"InputLayer", "Activation", "ReLU", "Dropout", "GaussianNoise", "Rescaling", "SpatialDropout1D"}


def axis_of_time(axes: Sequence[int | None], channels: int) -> TimeAxis | None:
    """axes: what became of the input's axes (0 is the batch); channels: where the operation has its channels."""
    count = len([axis for axis in axes if axis is not None]) - 1
    held = axes[channels] if -len(axes) <= channels < len(axes) else None
    if count < 2 or held not in (1, count):
        return None
    return TimeAxis.LAST if held == 1 else TimeAxis.FIRST


def onnx_time_axis(graph: Any, source: str, rank: int, constants: Mapping[str, Any]) -> TimeAxis | None:
    """Of an ONNX graph. source: its input, of `rank` axes with the batch; constants: arrays by name."""
    known: dict[str, list[int | None]] = {source: list(range(rank))}
    for node in graph.node:
        given = next((name for name in node.input if name in known), None)
        if given is None:
            continue
        axes, attributes = known[given], {each.name: each for each in node.attribute}
        if node.op_type in CHANNELS_SECOND or node.op_type in CHANNELS_LAST:
            return axis_of_time(axes, 1 if node.op_type in CHANNELS_SECOND else len(axes) - 1)
        if node.op_type in ELEMENTWISE:
            known[node.output[0]] = axes
        elif node.op_type == "Transpose":
            order = list(attributes["perm"].ints) if "perm" in attributes else list(range(len(axes)))[::-1]
            known[node.output[0]] = [axes[index] for index in order]
        elif node.op_type in ("Unsqueeze", "Squeeze"):
            where = list(attributes["axes"].ints) if "axes" in attributes else []
            if len(node.input) > 1 and node.input[1] in constants:
                where = [int(index) for index in constants[node.input[1]].ravel()]
            if where:
                known[node.output[0]] = _resized(axes, where, grows=node.op_type == "Unsqueeze")
    return None


def keras_time_axis(layers: Sequence[Any], rank: int) -> TimeAxis | None:
    """Of Keras layers in their order; where none shows it, Keras's own convention: channels last."""
    axes: list[int | None] = list(range(rank))
    for layer in layers:
        kind = type(layer).__name__
        if kind == "Permute":
            axes = [0, *(axes[index] for index in layer.dims)]
        elif kind in KERAS_CHANNELS_LAST:
            return axis_of_time(axes, len(axes) - 1)
        elif kind == "BatchNormalization":
            return axis_of_time(axes, layer.axis)
        elif "Conv" in kind or "Pooling" in kind:
            return axis_of_time(axes, len(axes) - 1 if layer.data_format == "channels_last" else 1)
        elif kind not in KERAS_UNMOVED:
            break
    return axis_of_time(axes, len(axes) - 1)


def tensorflow_time_axis(graph: Any, source: str, rank: int) -> TimeAxis | None:
    """Of a TensorFlow graph; where no operation shows it, TensorFlow's own convention: channels last."""
    import tensorflow as tf

    known: dict[str, list[int | None]] = {source: list(range(rank))}
    for operation in graph.get_operations():
        given = next((tensor.name for tensor in operation.inputs if tensor.name in known), None)
        if given is None:
            continue
        axes, target = known[given], operation.outputs[0].name if operation.outputs else ""
        if operation.type in ("Conv2D", "DepthwiseConv2dNative", "MaxPool", "AvgPool", "FusedBatchNormV3"):
            first = operation.get_attr("data_format").decode().startswith("NC")
            return axis_of_time(axes, 1 if first else len(axes) - 1)
        if operation.type in ("BatchMatMulV2", "TensorListFromTensor"):
            return axis_of_time(axes, len(axes) - 1)
        if operation.type in ELEMENTWISE | {"AddV2", "RealDiv"}:
            known[target] = axes
        elif operation.type in ("Transpose", "ExpandDims"):
            constant = tf.get_static_value(operation.inputs[1])
            if constant is None:
                break
            if operation.type == "Transpose":
                known[target] = [axes[int(index)] for index in constant]
            else:
                known[target] = _resized(axes, [int(constant)], grows=True)
    return axis_of_time(list(range(rank)), rank - 1)


def _resized(axes: list[int | None], where: list[int], grows: bool) -> list[int | None]:
    """With axes of length one put in, or taken out, at the places `where`."""
    result = list(axes)
    if not grows:
        gone = {index % len(axes) for index in where}
        return [axis for index, axis in enumerate(axes) if index not in gone]
    for index in sorted(each % (len(axes) + len(where)) for each in where):
        result.insert(index, None)
    return result
