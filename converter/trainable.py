"""One .tflite that also trains: signatures ``infer``, ``train``, ``get_head``, ``set_head``, builtin operators only.

For Android and C++ programs that embed plain LiteRT. The frozen backbone is constants and the head's gradient is
written out, because TensorFlow's own gradient needs operators that plain LiteRT does not have, and because a
backbone given as a Keras model loses its weights on this route without an error.

    train(x (n, *input_shape), y (n, C), learning_rate ()) -> loss
        Z = E K + b;  P = link(Z);  K <- K - lr / n * E^T (P - Y);  b <- b - lr / n * sum (P - Y)

which is mean cross-entropy for softmax, summed binary cross-entropy for sigmoid, and half the squared error
for linear heads: in all three the gradient by Z is P - Y.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converter.fit import fit_preprocessing, spread_rows
from converter.opening import open_source
from converter.options import Options
from converter.training_data import TrainingData
from converter.versions import flex_operators, tflite_minimum
from headway.arrays import Float32, describe
from headway.durable import write_durably
from headway.errors import ConfigError, DataError, ModelError
from headway.head import Head, HeadKind, link

PARITY_MAX = 1e-5
CURVE_STEPS = 20
CURVE_ROWS = 32
CURVE_LEARNING_RATE = 0.01


@dataclass(frozen=True, slots=True)
class TrainableReport:
    """curve_difference: largest difference of the head from the written-out NumPy steps, over the head's scale."""

    path: Path
    payload_bytes: int
    parity: float
    curve_difference: float
    oldest_runtime: str

    def lines(self) -> list[str]:
        """For the terminal."""
        return [
            f"  trainable  {self.path} ({self.payload_bytes:,} bytes), TFLite {self.oldest_runtime} or newer",
            f"  parity     {self.parity:.1e} of the outputs' scale; head after {CURVE_STEPS} steps within "
            f"{self.curve_difference:.1e} of the same steps in NumPy",
        ]


def write_trainable(
    model: Any, data: TrainingData, out: Path, options: Options, progress: Callable[[str], None] = lambda step: None
) -> TrainableReport:
    """Write the trainable .tflite, proven on ai-edge-litert. Raises ModelError when it cannot be made to match."""
    if not Path(out).parent.is_dir():
        raise ConfigError(f"cannot write {out}: folder {Path(out).parent} does not exist")
    progress("loading and cutting the model")
    source = open_source(model, options.cut)
    if "tflite" not in source.formats:
        raise ModelError("a trainable .tflite is made from Keras models and SavedModels, not from ONNX")
    head = source.weights.head(data.classes)
    if data.x.shape[1:] != source.input_shape:
        raise DataError(f"x is {describe(data.x)}; the model takes (n, {', '.join(map(str, source.input_shape))})")
    inputs, _ = fit_preprocessing(data, source.input_shape, options).apply(data.x)
    rows = spread_rows(data, CURVE_ROWS)
    x, y = np.ascontiguousarray(inputs[rows]), _targets(data, rows)
    progress("exporting the four signatures")
    payload = _export(source, head)
    if found := flex_operators(payload):
        raise ModelError(f"needs TensorFlow operators {found}, which plain LiteRT does not have; use other layers")
    progress("training it and the same head in NumPy, step for step")
    parity, difference = _prove(payload, head, source.answers(x)[0], x, y)
    write_durably(Path(out), payload)
    return TrainableReport(Path(out), len(payload), parity, difference, tflite_minimum(payload))


def reference_step(kernel: Float32, bias: Float32, kind: HeadKind, embedding: Float32, y: Float32, rate: float) -> None:
    """The step that ``train`` makes, in place: kernel float32 (e, C), bias (C,), embedding (n, e), y (n, C)."""
    delta = (link(embedding @ kernel + bias, kind) - y) * np.float32(rate / len(y))
    kernel -= embedding.T @ delta
    bias -= delta.sum(axis=0)


def _targets(data: TrainingData, rows: Any) -> Float32:
    if data.targets is not None:
        return np.asarray(data.targets[rows])
    return np.asarray(np.eye(len(data.classes), dtype=np.float32)[data.y[rows]])


def _export(source: Any, head: Head) -> bytes:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    with tempfile.TemporaryDirectory(prefix="edge-convert-") as scratch:
        source.save(Path(scratch) / "backbone", "any" if "any" in source.forms() else source.forms()[-1])
        loaded = tf.saved_model.load(str(Path(scratch) / "backbone"))
        frozen = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
        if frozen.inputs[0].shape[0] is not None:
            raise ModelError("the backbone takes one fixed batch size; a trainable file needs a free one")
        module = _module(frozen, head, source.input_shape)
        signatures = {
            name: getattr(module, name).get_concrete_function() for name in ("infer", "train", "get_head", "set_head")
        }
        # gradients of the frozen backbone are never asked for, and those of swish cannot be saved with it
        plain = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(Path(scratch) / "trainable"), signatures=signatures, options=plain)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(scratch) / "trainable"))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        try:
            return bytes(converter.convert())
        except Exception as error:
            raise ModelError(f"TFLite cannot hold this backbone with builtin operators: {str(error)[:200]}") from error


def _module(frozen: Any, head: Head, input_shape: tuple[int, ...]) -> Any:
    import tensorflow as tf

    links = {HeadKind.SOFTMAX: tf.nn.softmax, HeadKind.SIGMOID: tf.sigmoid, HeadKind.LINEAR: tf.identity}
    apply_link = links[head.kind]
    windows = tf.TensorSpec((None, *input_shape), tf.float32)
    targets = tf.TensorSpec((None, len(head.classes)), tf.float32)

    def embed(x: Any) -> Any:
        result = frozen(x)
        return result[0] if isinstance(result, (list, tuple)) else result

    class Trainable(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.kernel, self.bias = tf.Variable(head.kernel), tf.Variable(head.bias)

        @tf.function(input_signature=[windows])  # type: ignore[untyped-decorator]
        def infer(self, x: Any) -> Any:
            return {"output": apply_link(tf.matmul(embed(x), self.kernel) + self.bias)}

        @tf.function(input_signature=[windows, targets, tf.TensorSpec((), tf.float32)])  # type: ignore[untyped-decorator]
        def train(self, x: Any, y: Any, learning_rate: Any) -> Any:
            features = embed(x)
            logits = tf.matmul(features, self.kernel) + self.bias
            output = apply_link(logits)
            count = tf.cast(tf.shape(x)[0], tf.float32)
            delta = (output - y) * (learning_rate / count)
            self.kernel.assign(self.kernel - tf.matmul(tf.transpose(features), delta))
            self.bias.assign(self.bias - tf.reduce_sum(delta, axis=0))
            return {"loss": _loss(tf, head.kind, logits, output, y) / count}

        @tf.function(input_signature=[tf.TensorSpec((1,), tf.float32)])  # type: ignore[untyped-decorator]
        def get_head(self, unused: Any) -> Any:
            # an input that does nothing: LiteRT loses signatures without one
            zero = tf.reduce_sum(unused) * 0.0
            return {"kernel": self.kernel + zero, "bias": self.bias + zero}

        @tf.function(input_signature=[tf.TensorSpec(head.kernel.shape), tf.TensorSpec(head.bias.shape)])  # type: ignore[untyped-decorator]
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


def _prove(payload: bytes, head: Head, embedding: Float32, x: Float32, y: Float32) -> tuple[float, float]:
    """Parity of ``infer``, and the largest difference between twenty steps there and in NumPy."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=payload, num_threads=1)
        infer, train, get_head, set_head = (
            interpreter.get_signature_runner(name) for name in ("infer", "train", "get_head", "set_head")
        )
        set_head(kernel=head.kernel, bias=head.bias)
        output = infer(x=x)["output"]
        expected = head.probabilities(embedding)
        kernel, bias = head.kernel.copy(), head.bias.copy()
        difference = 0.0
        # a step this long moves every head by about as much, whatever the size of its features
        rate = np.float32(CURVE_LEARNING_RATE / max(float(np.square(embedding).mean()), 1e-6))
        for _ in range(CURVE_STEPS):
            loss = train(x=x, y=y, learning_rate=rate)["loss"]
            reference_step(kernel, bias, head.kind, embedding, y, float(rate))
            trained = get_head(unused=np.zeros(1, np.float32))
            scale = max(float(np.abs(kernel).max()), float(np.abs(bias).max()), 1e-6)
            difference = max(
                difference,
                float(np.abs(trained["kernel"] - kernel).max()) / scale,
                float(np.abs(trained["bias"] - bias).max()) / scale,
            )
            if not np.isfinite(loss):
                raise ModelError("the trainable file's loss is not finite; its backbone may have lost its weights")
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"ai-edge-litert cannot run the trainable file: {str(error)[:200]}") from error
    parity = float(np.abs(output - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if not max(parity, difference) <= PARITY_MAX:
        raise ModelError(
            f"the trainable file differs from the source by {parity:.1e} in its output and {difference:.1e} after "
            f"{CURVE_STEPS} steps (at most {PARITY_MAX:.0e}); a layer behaves differently after conversion"
        )
    return parity, difference
