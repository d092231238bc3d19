"""What TensorFlow and Keras offer for the same job, each conversion in a process of its own: some of them crash.

``keras``: `model.export(format="litert")`. ``float32`` to ``int8``: `TFLiteConverter.from_keras_model` with the options
TensorFlow's guide gives for post-training quantisation. ``recipe``: the guide to on-device training, with the
backbone frozen (tensorflow.org/lite/examples/on_device_training).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converter.sources import QUIET

PRECISIONS = ("float32", "float16", "dynamic", "int8")
ROUTES = ("keras", *PRECISIONS)
RECIPE = "recipe"
TIMEOUT_S = 900.0
REPRESENTATIVE_ROWS = 200


def export(model: Path, representative: Path, folder: Path, routes: Sequence[str]) -> dict[str, Path | str]:
    """Route -> the file it wrote, or in one line why there is none. representative: .npy of preprocessed windows."""
    results: dict[str, Path | str] = {}
    waiting = list(routes)
    while waiting:
        job = json.dumps({"model": str(model), "rows": str(representative), "folder": str(folder), "routes": waiting})
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.peer_exports"],
            input=job,
            capture_output=True,
            text=True,
            env={**os.environ, **QUIET},
            timeout=TIMEOUT_S * len(waiting),
        )
        answers = [json.loads(line) for line in child.stdout.splitlines() if line.startswith('["')]
        results |= {route: words or folder / f"{route}.tflite" for route, words in answers}
        if len(answers) < len(waiting):
            results[waiting[len(answers)]] = f"the converter crashed (exit code {child.returncode})"
        waiting = waiting[len(answers) + 1 :]
    return results


def main() -> None:
    job = json.loads(sys.stdin.read())
    import keras

    for route in job["routes"]:
        words = ""
        model = keras.models.load_model(job["model"])
        target = Path(job["folder"]) / f"{route}.tflite"
        try:
            if route == "keras":
                model.export(str(target), format="litert", verbose=False)
            elif route == RECIPE:
                target.write_bytes(_recipe(model))
            else:
                target.write_bytes(plain(model, route, np.load(job["rows"])))
        except Exception as error:  # noqa: BLE001 - a finding, whatever it is
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            words = (next((line for line in lines if "error:" in line or "Flex" in line), lines[0]))[:200]
        print("\n" + json.dumps([route, words]), flush=True)


def plain(model: Any, precision: str, rows: Any) -> bytes:
    """The converter as the guide shows it. rows: float32 (n, ...), to calibrate int8 with."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]

        def representative() -> Iterator[list[Any]]:
            yield from ([row[None]] for row in rows[:REPRESENTATIVE_ROWS])

        converter.representative_dataset = representative
    return bytes(converter.convert())


def _recipe(model: Any) -> bytes:
    """``train`` and ``infer`` of the whole model by GradientTape, its last layer alone trainable."""
    import tensorflow as tf

    for layer in model.layers[:-1]:
        layer.trainable = False
    losses = {"softmax": "CategoricalCrossentropy", "sigmoid": "BinaryCrossentropy", "linear": "MeanSquaredError"}
    activation = getattr(model.layers[-1], "activation", None)
    loss_function = getattr(tf.keras.losses, losses[getattr(activation, "__name__", "softmax")])()
    windows = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    targets = tf.TensorSpec((None, model.output_shape[-1]), tf.float32)

    class Recipe(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.optimizer = tf.keras.optimizers.SGD(1e-2)

        @tf.function(input_signature=[windows, targets])  # type: ignore[untyped-decorator]
        def train(self, x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_function(y, self.model(x))
            gradients = tape.gradient(loss, self.model.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables, strict=True))
            return {"loss": loss}

        @tf.function(input_signature=[windows])  # type: ignore[untyped-decorator]
        def infer(self, x: Any) -> Any:
            return {"output": self.model(x)}

    recipe = Recipe()
    signatures = {name: getattr(recipe, name).get_concrete_function() for name in ("infer", "train")}
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(recipe, folder, signatures=signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        converter.experimental_enable_resource_variables = True
        return bytes(converter.convert())


if __name__ == "__main__":
    main()
