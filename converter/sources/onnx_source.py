"""Reads ONNX files, by which PyTorch, scikit-learn and others come in through their own exporters.

What lies before the head (converter/sources/onnx_head.py) is the backbone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from converter.sources.layout import onnx_time_axis
from converter.sources.onnx_head import Cut, find_head, scores
from converter.sources.onnx_names import captured
from converter.sources.source import first_line
from headway.arrays import Float32
from headway.errors import ModelError


class OnnxSource:
    """An ONNX classifier or regressor with one input; runs on onnxruntime."""

    formats = ("onnx",)

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, layer: str = "", shape: tuple[int, ...] = ()) -> None:
        import onnx

        self.name = path.stem
        try:
            self._model = onnx.load(str(path))
            onnx.checker.check_model(self._model)
        except Exception as error:  # of protobuf's and the checker's own, which have no parent but Exception
            raise ModelError(f"{path} is not a valid ONNX model: {first_line(error)}") from error
        graph = self._model.graph
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        constants |= {
            node.output[0]: onnx.numpy_helper.to_array(node.attribute[0].t)
            for node in graph.node
            if node.op_type == "Constant" and node.attribute[0].name == "value"
        }
        inputs = [value for value in graph.input if value.name not in constants]
        if len(inputs) != 1:
            raise ModelError(
                f"the model has {len(inputs)} inputs {[i.name for i in inputs]}; one is needed: wrap it in a module "
                "that takes one tensor and cuts it up, and export that"
            )
        tensor = inputs[0].type.tensor_type
        self._input = inputs[0].name
        given = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        if tensor.elem_type != onnx.TensorProto.FLOAT:
            told = " (float64)" if given == "double" else ""
            raise ModelError(
                f"input {self._input!r} is {given}{told}; it must be float32: export the model on x.astype('float32')"
            )
        if shape:
            _fix_lengths(tensor, self._input, shape)
        dimensions = [d.dim_value or None for d in tensor.shape.dim]
        if len(dimensions) < 2 or None in dimensions[1:]:
            raise ModelError(
                f"input {self._input!r} has shape {dimensions}; every length but the batch must be fixed: give "
                "--input-shape, or export it so"
            )
        self.input_shape: tuple[int, ...] = tuple(int(d or 0) for d in dimensions[1:])
        self._batch = dimensions[0]
        self.time_axis = onnx_time_axis(graph, self._input, len(dimensions), constants)
        self._output = scores(graph)
        self._cut = find_head(graph, constants, _shapes(self._model), self._output, layer)
        self.weights = self._cut.weights
        self._backbone = _prefix(self._model, self._input, self._cut, self._batch, self.input_shape)

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        outputs = self._run(self._model, inputs, self._output)
        return self._run(self._backbone, inputs, "embedding"), self.weights.link(outputs)

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
            branches = any(node.op_type in ("If", "Loop", "Scan") for node in self._model.graph.node)
            step = self._batch or (1 if branches else 256)  # a whole batch takes a branch, a device has one window
            parts = [
                session.run([output], {self._input: inputs[start : start + step]})[0]
                for start in range(0, len(inputs), step)
            ]
        except Exception as error:  # onnxruntime's own, likewise
            raise ModelError(f"onnxruntime cannot run the model: {first_line(error)}") from error
        return np.concatenate([np.asarray(part, np.float32).reshape(len(part), -1) for part in parts])


def _fix_lengths(tensor: Any, name: str, shape: tuple[int, ...]) -> None:
    """Write a window's shape into the type of the input, where it was left free."""
    own = [d.dim_value or None for d in tensor.shape.dim][1:]
    if len(own) != len(shape) or any(length not in (None, given) for length, given in zip(own, shape, strict=True)):
        raise ModelError(f"--input-shape {shape} does not fit input {name!r}, which takes {tuple(own)}")
    for dimension, length in zip(list(tensor.shape.dim)[1:], shape, strict=True):
        dimension.dim_value = length


def _shapes(model: Any) -> dict[str, list[int | None]]:
    """Of the tensors whose shape inference finds."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # noqa: BLE001 - it may raise anything; shapes then stay unknown and are found when it runs
        graph = model.graph
    return {
        value.name: [d.dim_value or None for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.HasField("tensor_type") and value.type.tensor_type.HasField("shape")
    }


def _prefix(model: Any, source: str, cut: Cut, batch: int | None, shape: tuple[int, ...]) -> Any:
    """The model from its input to the cut, output renamed ``embedding``; nodes the cut does not need are dropped."""
    import onnx

    needed, kept = {cut.at, *(() if cut.mean is None else cut.mean.input[1:])}, []
    for node in reversed(model.graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(node.input)
            needed.update(captured(node))
    kept.reverse()
    at = cut.at
    if cut.mean is not None:
        mean = onnx.NodeProto()
        mean.CopyFrom(cut.mean)
        mean.input[0], mean.output[0], mean.name = at, "headway/mean", "headway/mean"
        kept.append(mean)
        at = mean.output[0]
    if cut.flatten:
        kept.append(onnx.helper.make_node("Flatten", [at], ["headway/flat"], name="headway/flat", axis=1))
        at = "headway/flat"
    kept.append(onnx.helper.make_node("Identity", [at], ["embedding"], name="embedding"))
    axis = batch if batch is not None else "n"
    graph = onnx.helper.make_graph(
        kept,
        "backbone",
        [onnx.helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, [axis, *shape])],
        [onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, None)],
        [tensor for tensor in model.graph.initializer if tensor.name in needed],
    )
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version, functions=model.functions
    )
