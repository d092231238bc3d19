"""Backbone -> TFLite bytes, in a process of its own: a crash of TensorFlow's converter is reported, not shared."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from headway.errors import ModelError

EXPORT_TIMEOUT_S = 1800.0
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


def export_tflite(backbone: Any) -> tuple[bytes, bool]:
    """TFLite float32, builtin ops only. Returns the bytes and whether any batch size goes in.

    Raises ModelError with TensorFlow's own last words when neither a dynamic batch nor a batch of one converts.
    """
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as scratch:
        source, target = Path(scratch) / "backbone.keras", Path(scratch) / "backbone.tflite"
        backbone.save(source)
        reasons = []
        for batch in ("any", "one"):
            command = [sys.executable, "-m", "converter.export", str(source), str(target), batch]
            environment = {**os.environ, **QUIET}
            try:
                result = subprocess.run(
                    command, capture_output=True, text=True, env=environment, timeout=EXPORT_TIMEOUT_S
                )
            except subprocess.TimeoutExpired:
                reasons.append(f"batch {batch}: took longer than {EXPORT_TIMEOUT_S:.0f} s")
                continue
            if result.returncode == 0 and target.exists():
                return target.read_bytes(), batch == "any"
            reasons.append(f"batch {batch}: {_last_words(result)}")
    raise ModelError(f"the backbone does not convert to TFLite with builtin ops ({'; '.join(reasons)})")


def _last_words(result: subprocess.CompletedProcess[str]) -> str:
    if result.returncode < 0:
        return f"TensorFlow's converter crashed with signal {-result.returncode}"
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit code {result.returncode}"


def _main(source: str, target: str, batch: str) -> None:
    """The child process: load the saved backbone and convert it."""
    import keras
    import tensorflow as tf

    model = keras.models.load_model(source, compile=False)
    if batch == "any":
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    else:
        shape = (1, *model.inputs[0].shape[1:])
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("embed", model.call, [tf.TensorSpec(shape, tf.float32)])
        with tempfile.TemporaryDirectory() as folder:
            archive.write_out(folder, verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            Path(target).write_bytes(converter.convert())
        return
    Path(target).write_bytes(converter.convert())


if __name__ == "__main__":
    _main(*sys.argv[1:])
