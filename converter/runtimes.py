"""Running what was written, the way a device will: on LiteRT, one window at a time."""

from __future__ import annotations

import numpy as np

from headway.arrays import Float32
from headway.errors import ModelError


def run_tflite(payload: bytes, inputs: Float32) -> Float32:
    """inputs: float32 (n, *input_shape) -> embeddings float32 (n, e). Raises ModelError when it does not run."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_content=payload, num_threads=1)
        source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        interpreter.resize_tensor_input(source, (1, *inputs.shape[1:]))
        interpreter.allocate_tensors()
        rows = []
        for start in range(len(inputs)):
            interpreter.set_tensor(source, inputs[start : start + 1])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(target).reshape(-1))
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"ai-edge-litert cannot run the written backbone: {str(error)[:200]}") from error
    return np.stack(rows).astype(np.float32, copy=False)
