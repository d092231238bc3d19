"""Conversions of a saved backbone to .tflite and .onnx; run in the process of the frameworks (worker.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from converter.sources import canonical, with_standard_operators
from headway.errors import ModelError

ONNX_OPSET = 17
REPRESENTATIVE_ROWS_MAX = 200
WORDS_MAX = 600


def carry_out(job: dict[str, Any]) -> None:
    """Write ``job["target"]``. job: `converter.export.export.Job` as a dictionary. Raises ModelError."""
    try:
        Path(job["target"]).write_bytes(ENGINES[job["engine"]](job))
    except Exception as error:  # converters raise anything
        raise ModelError(_last_words(error)) from error


def _tflite(job: dict[str, Any]) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(job["saved"])
    operators = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if job["precision"] in ("dynamic", "float16", "int8"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if job["precision"] == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if job["precision"] == "int8":
        converter.representative_dataset = lambda: _rows(job)
        operators = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if job["allow_flex"]:
        operators.append(tf.lite.OpsSet.SELECT_TF_OPS)
    converter.target_spec.supported_ops = operators
    if job["portable"]:
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return bytes(converter.convert())


def _rows(job: dict[str, Any]) -> Iterator[list[Any]]:
    for row in representative(np.load(job["representative"])):
        yield [row[None]]


def representative(rows: Any) -> Any:
    """At most 200 rows, evenly spread: they come sorted by class, so the first 200 would leave classes out."""
    return rows[np.linspace(0, len(rows) - 1, min(REPRESENTATIVE_ROWS_MAX, len(rows))).astype(int)]


def _onnx(job: dict[str, Any]) -> bytes:
    float32 = Path(job["saved"]) / "backbone.onnx"
    if not float32.exists():
        import tensorflow as tf
        import tf2onnx
        from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

        loaded = tf.saved_model.load(job["saved"])  # kept in a variable: it owns the weights
        frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
        model, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=[frozen.inputs[0].name],
            output_names=[frozen.outputs[0].name],
            opset=ONNX_OPSET,
        )
        standard = with_standard_operators(model)
        float32.write_bytes(canonical(standard).SerializeToString(deterministic=True))
    if job["precision"] == "float32":
        return float32.read_bytes()
    return _onnx_int8(job, float32)


def _onnx_int8(job: dict[str, Any], float32: Path) -> bytes:
    import onnx
    from onnxruntime import quantization

    model = onnx.load(str(float32))
    name = model.graph.input[0].name

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rows = _rows(job)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self._rows, None)
            return None if row is None else {name: row[0]}

    quantization.quantize_static(
        str(float32),
        job["target"],
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=False,
    )
    return Path(job["target"]).read_bytes()


def _trainable(job: dict[str, Any]) -> bytes:
    from converter.export.trainable_graph import convert_trainable

    return convert_trainable(job["saved"], Path(job["plan"]))


ENGINES = {"tflite": _tflite, "onnx": _onnx, "trainable": _trainable}


def _last_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if any("tensor list" in line.lower() for line in lines):
        return (
            "its recurrent layers were saved for batches of any size, which TFLite cannot hold; give the .keras or .h5 "
            "file instead of the SavedModel, or build them with unroll=True"
        )
    telling = [line for line in lines if "Flex" in line or "op is neither" in line or "error:" in line]
    return (telling[-1] if telling else lines[-1] if "in user code" in lines[0] else lines[0])[:WORDS_MAX]
