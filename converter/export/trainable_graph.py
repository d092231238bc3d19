"""The graph of a trainable .tflite; runs inside the export process. The mathematics stands in
converter.trainable.trainable.

The frozen backbone is constants and the head's gradient is written out, because TensorFlow's own gradient needs
operators that plain LiteRT does not have, and because a backbone given as a Keras model loses its weights on this
route without an error.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from converter.export.preprocessing_graph import apply
from converter.sources import only
from headway.arrays import Float32
from headway.maths import Denoise, HeadKind, Missing, Preprocessing, TimeAxis

SIGNATURES = ("infer", "train", "get_head", "set_head")


def write_plan(
    path: Path,
    kernel: Float32,
    bias: Float32,
    kind: HeadKind,
    input_shape: tuple[int, ...],
    fitted: Preprocessing | None,
) -> None:
    """What the graph is made of beside the backbone, as an .npz for the export process.

    kernel: float32 (e, C); bias: float32 (C,); fitted: None for windows that come preprocessed.
    """
    arrays = {"kernel": kernel, "bias": bias}
    words: dict[str, Any] = {"kind": str(kind), "input_shape": list(input_shape), "preprocessed": fitted is None}
    if fitted is not None:
        words |= {"missing": str(fitted.missing), "denoise": str(fitted.denoise)}
        words |= {"median_width": fitted.median_width, "ewma_weight": fitted.ewma_weight}
        words |= {"time_axis": str(fitted.time_axis)}
        given = {name: getattr(fitted, name) for name in ("fill", "offset", "gain", "low", "high")}
        arrays |= {name: array for name, array in given.items() if array is not None}
    np.savez(path, allow_pickle=False, words=np.array(json.dumps(words)), **arrays)


def convert_trainable(saved: str, plan: Path) -> bytes:
    """The .tflite of a backbone that was saved with a free batch. Raises what TensorFlow raises."""
    import tensorflow as tf

    words, arrays = _read_plan(plan)
    backbone = tf.saved_model.load(saved)  # kept in a variable: it owns the function
    module = _module(backbone.signatures["serving_default"], words, arrays)
    signatures = {name: getattr(module, name).get_concrete_function() for name in SIGNATURES}
    # gradients of the frozen backbone are never asked for, and those of swish cannot be saved with it
    plain = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder:
        tf.saved_model.save(module, folder, signatures=signatures, options=plain)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())


def read_preprocessing(plan: Path) -> Preprocessing:
    """What `write_plan` wrote of it."""
    return _fitted(*_read_plan(plan))


def _read_plan(plan: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Words and arrays."""
    with np.load(plan, allow_pickle=False) as loaded:
        arrays = dict(loaded)
    return json.loads(str(arrays["words"])), arrays


def _fitted(words: dict[str, Any], arrays: dict[str, Any]) -> Preprocessing:
    return Preprocessing(
        tuple(words["input_shape"]),
        arrays["fill"],
        arrays.get("offset"),
        arrays.get("gain"),
        Missing(words["missing"]),
        Denoise(words["denoise"]),
        words["median_width"],
        words["ewma_weight"],
        TimeAxis(words["time_axis"]),
        arrays.get("low"),
        arrays.get("high"),
    )


def _module(served: Any, words: dict[str, Any], arrays: dict[str, Any]) -> Any:
    import tensorflow as tf

    kind = HeadKind(words["kind"])
    links = {HeadKind.SOFTMAX: tf.nn.softmax, HeadKind.SIGMOID: tf.sigmoid, HeadKind.LINEAR: tf.identity}
    apply_link = links[kind]
    kernel, bias = arrays["kernel"], arrays["bias"]
    windows = tf.TensorSpec((None, *words["input_shape"]), tf.float32)
    targets = tf.TensorSpec((None, len(bias)), tf.float32)
    fitted = None if words["preprocessed"] else _fitted(words, arrays)

    def embed(x: Any) -> Any:
        return only(list(served(x if fitted is None else apply(x, fitted)).values()))

    class Trainable(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.bias = tf.Variable(kernel), tf.Variable(bias)

        @tf.function(input_signature=[windows], autograph=False)  # type: ignore[untyped-decorator]
        def infer(self, x: Any) -> Any:
            return {"output": apply_link(tf.matmul(embed(x), self.kernel) + self.bias)}

        @tf.function(input_signature=[windows, targets, tf.TensorSpec((), tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
        def train(self, x: Any, y: Any, learning_rate: Any) -> Any:
            features = embed(x)
            logits = tf.matmul(features, self.kernel) + self.bias
            output = apply_link(logits)
            count = tf.cast(tf.shape(x)[0], tf.float32)
            delta = (output - y) * (learning_rate / count)
            self.kernel.assign(self.kernel - tf.matmul(tf.transpose(features), delta))
            self.bias.assign(self.bias - tf.reduce_sum(delta, axis=0))
            return {"loss": _loss(tf, kind, logits, output, y) / count}

        @tf.function(input_signature=[tf.TensorSpec((1,), tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
        def get_head(self, unused: Any) -> Any:
            # an input that does nothing: LiteRT loses signatures without one
            zero = tf.reduce_sum(unused) * 0.0
            return {"kernel": self.kernel + zero, "bias": self.bias + zero}

        @tf.function(input_signature=[tf.TensorSpec(kernel.shape), tf.TensorSpec(bias.shape)], autograph=False)  # type: ignore[untyped-decorator]
        def set_head(self, kernel: Any, bias: Any) -> Any:
            self.kernel.assign(kernel)
            self.bias.assign(bias)
            return {"done": tf.reduce_sum(bias) * 0.0}

    return Trainable()


def _loss(tf: Any, kind: HeadKind, logits: Any, output: Any, y: Any) -> Any:
    """Sum over the batch; kept to operators that TFLite has built in."""
    if kind is HeadKind.SOFTMAX:
        return -tf.reduce_sum(y * tf.nn.log_softmax(logits))
    if kind is HeadKind.SIGMOID:
        return -tf.reduce_sum(y * tf.math.log(output + 1e-7) + (1 - y) * tf.math.log(1 - output + 1e-7))
    return 0.5 * tf.reduce_sum((output - y) * (output - y))
