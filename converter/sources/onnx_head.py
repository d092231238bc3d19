"""The cut of an ONNX graph: its output of scores, the node that is its head, and the link after it.

Walking back from the scores: activations, changes of shape, a mean over places, then a Gemm, MatMul + Add, pointwise
Conv, LinearClassifier or LinearRegressor with constant weights. Constants that scale its values, and a batch
normalisation of them, become part of the weights: (x W + b) s + t = x (W s) + (b s + t).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converter.sources.source import HeadWeights, head_kind
from headway.arrays import Float32
from headway.errors import ModelError

PASSIVE = ("Identity", "Dropout", "Cast", "ZipMap", "Normalizer", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
LINKS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "LogSoftmax": "log_softmax"}
MEANS = ("GlobalAveragePool", "ReduceMean")
POST_TRANSFORMS = {"NONE": "linear", "SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}
Shapes = Mapping[str, list[int | None]]


@dataclass(frozen=True, slots=True)
class Cut:
    """at: the tensor that becomes the embedding, after `mean`, a node to repeat on it, and flattening where it has
    more axes than two."""

    at: str
    weights: HeadWeights
    mean: Any = None
    flatten: bool = False


def scores(graph: Any) -> str:
    """The output to reproduce; a classifier's second output beside its labels, as scikit-learn exports them."""
    import onnx

    makers = {name: node for node in graph.node for name in node.output}
    names = []
    for value in graph.output:
        name = value.name
        while name in makers and makers[name].op_type == "ZipMap":
            name = makers[name].input[0]
        if value.type.HasField("sequence_type") or value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            names.append(name)
    if len(names) != 1:
        raise ModelError(
            f"the model has outputs {[o.name for o in graph.output]}; exactly one of float scores is needed"
        )
    if names[0] not in {value.name for value in graph.output}:
        graph.output.append(onnx.helper.make_tensor_value_info(names[0], onnx.TensorProto.FLOAT, None))
    return str(names[0])


def find_head(graph: Any, constants: Mapping[str, Any], shapes: Shapes, output: str, layer: str) -> Cut:
    """Where to cut. constants: arrays by name; shapes: of tensors, as far as inference knows them; layer: '' for any.

    Raises ModelError that says what the walk ended at.
    """
    makers = {name: node for node in graph.node for name in node.output}
    link, bias, name = "linear", None, output
    scale: Any = np.float32(1.0)
    outputs: set[int] = set()
    mean: Any = None
    while name in makers:
        node = makers[name]
        attributes = {a.name: a for a in node.attribute}
        weights = [constants.get(i) for i in node.input]
        wanted = not (layer and layer != node.name)
        if node.op_type in LINKS and link == "linear" and bias is None and mean is None:
            link = LINKS[node.op_type]
        elif node.op_type == "Concat" and len(node.input) == 2 and bias is None:
            name = _second_of_two(node, makers, constants)
            if not name:
                break
            continue
        elif node.op_type in ("LinearClassifier", "LinearRegressor") and wanted:
            return Cut(node.input[0], _linear_model(node, attributes, link))
        elif (affine := _affine(node, attributes, weights)) is not None:
            name, factor, shift = affine
            outputs |= {np.size(factor), np.size(shift)} - {1}
            if len(outputs) > 1:
                break
            bias, scale = (0.0 if bias is None else bias) + scale * shift, scale * factor
            continue
        elif node.op_type in ("Gemm", "MatMul") and weights[1] is not None and wanted:
            kernel = _kernel(node, weights[1])
            own = None
            if node.op_type == "Gemm":
                kernel, own = _gemm(attributes, kernel, weights[2] if len(weights) > 2 else None)
            if kernel.ndim != 2 or not outputs <= {kernel.shape[1]}:
                break
            return _cut(node, kernel * scale, _sum(own, scale, bias), link, mean, shapes.get(node.input[0]))
        elif node.op_type == "Conv" and weights[1] is not None and wanted:
            kernel = _kernel(node, weights[1])
            if not _pointwise(kernel, attributes) or not outputs <= {len(kernel)}:
                break
            both = _sum(weights[2] if len(weights) > 2 else None, scale, bias)
            scaled = kernel.reshape(kernel.shape[:2]).T * scale
            return _cut(node, scaled, both, link, mean, shapes.get(node.input[0]))
        elif node.op_type in MEANS and mean is None and bias is None:
            mean = node
        elif node.op_type not in PASSIVE:
            break
        name = node.input[0]
    size = (shapes.get(mean.output[0]) or [None, None])[1] if mean is not None and not layer else None
    if mean is not None and size is not None and name in makers:
        # not linear before the mean, which then is the embedding
        where = mean.name or mean.output[0]
        identity = np.eye(size, dtype=np.float32)
        kept = HeadWeights(identity, np.zeros(size, np.float32), head_kind(link, where), where, link == "log_softmax")
        return Cut(mean.output[0], kept, flatten=True)
    found = "its input"
    if name in makers:
        found = makers[name].op_type
        computed = found in ("Gemm", "MatMul", "Conv") and constants.get(makers[name].input[1]) is None
        found += f" {makers[name].name!r}, whose weights are computed" if computed else ""
    raise ModelError(
        f"walking back from output {output!r} ends at {found}, not at Gemm or MatMul + Add with constant weights"
        f"{f' named {layer!r}' if layer else ''}; export the model with its linear head last"
    )


def _cut(node: Any, kernel: Float32, bias: Any, link: str, mean: Any, shape: list[int | None] | None) -> Cut:
    where = node.name or node.output[0]
    places = [] if shape is None else shape[2:] if node.op_type == "Conv" else shape[1:-1]
    if mean is None and any(place != 1 for place in places):
        raise ModelError(
            f"head {where!r} takes {tuple(length or 'n' for length in shape or [])}; a head takes one vector per "
            "sample: pool or flatten before it"
        )
    filled = np.zeros(kernel.shape[1], np.float32) if bias is None else np.asarray(bias, np.float32)
    filled = np.broadcast_to(filled.reshape(-1), (kernel.shape[1],)).copy()
    kind = head_kind(link, where)
    weights = HeadWeights(np.ascontiguousarray(kernel), filled, kind, where, link == "log_softmax")
    return Cut(node.input[0], weights, mean, flatten=mean is not None or bool(places) or node.op_type == "Conv")


def _second_of_two(node: Any, makers: Mapping[str, Any], constants: Mapping[str, Any]) -> str:
    """The p of a Concat(1 - p, p), as scikit-learn's binary networks end; '' for any other."""
    first, second = node.input
    maker = makers.get(first)
    one = None if maker is None or maker.op_type != "Sub" else constants.get(maker.input[0])
    same = one is not None and np.all(np.asarray(one) == 1) and maker is not None and maker.input[1] == second
    return str(second) if same else ""


def _pointwise(kernel: Float32, attributes: Mapping[str, Any]) -> bool:
    """A convolution that sees one place at a time, at all of them."""
    strides = list(attributes["strides"].ints) if "strides" in attributes else []
    pads = list(attributes["pads"].ints) if "pads" in attributes else []
    group = attributes["group"].i if "group" in attributes else 1
    return set(kernel.shape[2:]) <= {1} and set(strides) <= {1} and set(pads) <= {0} and group == 1


def _kernel(node: Any, given: Any) -> Float32:
    if given.dtype == np.float16:
        raise ModelError(f"head {node.name or node.output[0]!r} works in float16; export the model in float32")
    return np.asarray(given, np.float32)


def _affine(node: Any, attributes: Mapping[str, Any], weights: list[Any]) -> tuple[str, Any, Any] | None:
    """The tensor that a node scales by a constant for each output, the factor, and what it adds; None for others."""
    if node.op_type == "BatchNormalization":
        if any(given is None for given in weights[1:5]):
            return None
        gamma, beta, mean, variance = (np.asarray(given, np.float64) for given in weights[1:5])
        factor = gamma / np.sqrt(variance + (attributes["epsilon"].f if "epsilon" in attributes else 1e-5))
        return node.input[0], np.float32(factor), np.float32(beta - mean * factor)
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or all(given is None for given in weights):
        return None
    constant = 0 if weights[0] is not None else 1
    if constant == 0 and node.op_type in ("Sub", "Div"):
        return None
    given = np.asarray(weights[constant], np.float32).reshape(-1)
    if node.op_type == "Div" and not given.all():
        return None
    added = node.op_type in ("Add", "Sub")
    signed = -given if node.op_type == "Sub" else 1 / given if node.op_type == "Div" else given
    return node.input[1 - constant], np.float32(1.0) if added else signed, signed if added else np.float32(0.0)


def _sum(own: Any, scale: Any, after: Any) -> Any:
    """Of a head's own bias, scaled as its weights, and what is added later."""
    own = None if own is None else np.asarray(own, np.float32).reshape(-1) * scale
    return own if after is None else after if own is None else own + after


def _gemm(attributes: dict[str, Any], kernel: Float32, own: Any) -> tuple[Float32, Any]:
    alpha = attributes["alpha"].f if "alpha" in attributes else 1.0
    beta = attributes["beta"].f if "beta" in attributes else 1.0
    if "transB" in attributes and attributes["transB"].i:
        kernel = kernel.T
    return kernel * np.float32(alpha), None if own is None else np.asarray(own, np.float32) * np.float32(beta)


def _linear_model(node: Any, attributes: dict[str, Any], link: str) -> HeadWeights:
    coefficients = np.array(attributes["coefficients"].floats, np.float32)
    targets = attributes["targets"].i if "targets" in attributes else 1
    zeros = np.zeros(targets if node.op_type == "LinearRegressor" else 1, np.float32)
    intercepts = np.array(attributes["intercepts"].floats, np.float32) if "intercepts" in attributes else zeros
    kernel = coefficients.reshape(len(intercepts), -1).T
    post = attributes["post_transform"].s.decode() if "post_transform" in attributes else "NONE"
    if post not in POST_TRANSFORMS:
        raise ModelError(f"{node.op_type} {node.name!r} ends in {post}; known: {', '.join(POST_TRANSFORMS)}")
    chosen = POST_TRANSFORMS[post] if link == "linear" else link
    return HeadWeights(np.ascontiguousarray(kernel), intercepts, head_kind(chosen, node.name), node.name)
