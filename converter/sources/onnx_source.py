"""ONNX files, so that PyTorch, scikit-learn and others come in through their own exporters.

The head is the last Gemm, MatMul + Add, or LinearClassifier (scikit-learn); what lies before it is the backbone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converter.sources.layout import onnx_time_axis
from converter.sources.source import HeadWeights, head_kind
from headway.arrays import Float32
from headway.errors import ModelError

PASSIVE = ("Identity", "Dropout", "Cast", "ZipMap", "Normalizer", "Flatten", "Reshape")
LINKS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
POST_TRANSFORMS = {"NONE": "linear", "SOFTMAX": "softmax", "LOGISTIC": "sigmoid"}


class OnnxSource:
    """An ONNX classifier or regressor with one input; runs on onnxruntime."""

    formats = ("onnx",)

    def __init__(self, path: Path, layer: str = "") -> None:
        import onnx

        self.name = path.stem
        try:
            self._model = onnx.load(str(path))
            onnx.checker.check_model(self._model)
        except Exception as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelError(f"{path} is not a valid ONNX model: {words[0][:200]}") from error
        graph = self._model.graph
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        constants |= {
            node.output[0]: onnx.numpy_helper.to_array(node.attribute[0].t)
            for node in graph.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
        inputs = [value for value in graph.input if value.name not in constants]
        if len(inputs) != 1:
            raise ModelError(f"the model has {len(inputs)} inputs {[i.name for i in inputs]}; one is needed")
        self._input = inputs[0].name
        tensor = inputs[0].type.tensor_type
        dimensions = [d.dim_value or None for d in tensor.shape.dim]
        if tensor.elem_type != onnx.TensorProto.FLOAT or len(dimensions) < 2 or None in dimensions[1:]:
            raise ModelError(
                f"input {self._input!r} has shape {dimensions}; it must be float32, every length but the batch fixed"
            )
        self.input_shape: tuple[int, ...] = tuple(int(d or 0) for d in dimensions[1:])
        self._batch = dimensions[0]
        self.time_axis = onnx_time_axis(graph, self._input, len(dimensions), constants)
        self._output = _scores(graph)
        self._cut_at, self.weights = _find_head(graph, constants, self._output, layer)
        self._backbone = _prefix(self._model, self._input, self._cut_at, self._batch, self.input_shape)

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        return self._run(self._backbone, inputs, "embedding"), self._run(self._model, inputs, self._output)

    def exact(self, inputs: Float32) -> None:
        return None  # its graph is fixed to float32

    def forms(self) -> tuple[str, ...]:
        return ("any",) if self._batch is None else ("one",)

    def save(self, folder: Path, form: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "backbone.onnx").write_bytes(self._backbone.SerializeToString(deterministic=True))

    def _run(self, model: Any, inputs: Float32, output: str) -> Float32:
        import onnxruntime

        if self._batch not in (None, 1):
            raise ModelError(f"the model takes batches of {self._batch}; export it with a free batch size")
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            step = self._batch or 256
            parts = [
                session.run([output], {self._input: inputs[start : start + step]})[0]
                for start in range(0, len(inputs), step)
            ]
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run the model: {str(error)[:200]}") from error
        return np.concatenate([np.asarray(part, np.float32).reshape(len(part), -1) for part in parts])


def _scores(graph: Any) -> str:
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


def _find_head(graph: Any, constants: dict[str, Any], output: str, layer: str) -> tuple[str, HeadWeights]:
    """Name of the embedding and the head's weights, walking back from the output."""
    makers = {name: node for node in graph.node for name in node.output}
    link, bias, name = "linear", None, output
    while name in makers:
        node = makers[name]
        attributes = {a.name: a for a in node.attribute}
        weights = [constants.get(i) for i in node.input]
        if node.op_type in LINKS and link == "linear" and bias is None:
            link = LINKS[node.op_type]
        elif node.op_type == "LinearClassifier" and not (layer and layer != node.name):
            return node.input[0], _linear_classifier(node, attributes, link)
        elif node.op_type == "Add" and bias is None and any(w is not None for w in weights):
            constant = 0 if weights[0] is not None else 1
            bias, name = weights[constant], node.input[1 - constant]
            continue
        elif node.op_type in ("Gemm", "MatMul") and weights[1] is not None and not (layer and layer != node.name):
            kernel = np.asarray(weights[1], np.float32)
            if node.op_type == "Gemm":
                kernel, bias = _gemm(attributes, kernel, weights[2] if len(weights) > 2 else None, bias)
            if kernel.ndim == 2:
                filled = np.zeros(kernel.shape[1], np.float32) if bias is None else np.asarray(bias, np.float32)
                filled = np.broadcast_to(filled.reshape(-1), (kernel.shape[1],)).copy()
                where = node.name or node.output[0]
                return node.input[0], HeadWeights(np.ascontiguousarray(kernel), filled, head_kind(link, where), where)
            break
        elif node.op_type not in PASSIVE:
            break
        name = node.input[0]
    found = makers[name].op_type if name in makers else "its input"
    raise ModelError(
        f"walking back from output {output!r} ends at {found}, not at Gemm or MatMul + Add with constant weights"
        f"{f' named {layer!r}' if layer else ''}; export the model with its linear head last"
    )


def _gemm(attributes: dict[str, Any], kernel: Float32, own: Any, after: Any) -> tuple[Float32, Any]:
    alpha = attributes["alpha"].f if "alpha" in attributes else 1.0
    beta = attributes["beta"].f if "beta" in attributes else 1.0
    if "transB" in attributes and attributes["transB"].i:
        kernel = kernel.T
    bias = 0.0 if own is None else np.asarray(own, np.float32) * np.float32(beta)
    return kernel * np.float32(alpha), bias if after is None else bias + after


def _linear_classifier(node: Any, attributes: dict[str, Any], link: str) -> HeadWeights:
    intercepts = np.array(attributes["intercepts"].floats, np.float32)
    kernel = np.array(attributes["coefficients"].floats, np.float32).reshape(len(intercepts), -1).T
    post = attributes["post_transform"].s.decode() if "post_transform" in attributes else "NONE"
    if post not in POST_TRANSFORMS:
        raise ModelError(f"LinearClassifier {node.name!r} ends in {post}; known: {', '.join(POST_TRANSFORMS)}")
    chosen = POST_TRANSFORMS[post] if link == "linear" else link
    return HeadWeights(np.ascontiguousarray(kernel), intercepts, head_kind(chosen, node.name), node.name)


def _prefix(model: Any, source: str, cut_at: str, batch: int | None, shape: tuple[int, ...]) -> Any:
    """The model from its input to the cut, output renamed ``embedding``; nodes the cut does not need are dropped."""
    import onnx

    needed, kept = {cut_at}, []
    for node in reversed(model.graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(node.input)
    kept.reverse()
    kept.append(onnx.helper.make_node("Identity", [cut_at], ["embedding"], name="embedding"))
    axis = batch if batch is not None else "n"
    graph = onnx.helper.make_graph(
        kept,
        "backbone",
        [onnx.helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, [axis, *shape])],
        [onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
