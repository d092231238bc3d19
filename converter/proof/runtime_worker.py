"""Runs one backbone on one runtime: python runtime_worker.py ENGINE MODEL INPUTS.npy OUT.npz SECONDS.

Stands alone (NumPy and one runtime), because it also runs inside the environment of tflite-runtime, where Headway
is not installed. Without MODEL it prints the runtime's version.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def open_model(engine: str, path: str) -> Callable[[Any], Any]:
    """A function window (1, ...) -> embedding (e,)."""
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x: session.run(None, {name: x})[0].reshape(-1)
    if engine == "tflite-runtime":
        from tflite_runtime.interpreter import Interpreter
    else:
        from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=path, num_threads=1)
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    state: dict[str, Any] = {"shape": tuple(source["shape"]), "ready": False}

    def run(x: Any) -> Any:
        if not state["ready"]:
            if state["shape"] != x.shape:
                interpreter.resize_tensor_input(source["index"], x.shape)
            interpreter.allocate_tensors()
            state["ready"] = True
        interpreter.set_tensor(source["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(target).reshape(-1)

    return run


def version(engine: str) -> str:
    if engine == "onnxruntime":
        import onnxruntime

        return str(onnxruntime.__version__)
    if engine == "tflite-runtime":
        import tflite_runtime

        if int(np.__version__.split(".")[0]) >= 2:
            raise ImportError("tflite-runtime needs numpy<2, found " + np.__version__)
        return str(tflite_runtime.__version__)
    import importlib.metadata

    return importlib.metadata.version("ai-edge-litert")


def main(engine: str, path: str = "", inputs: str = "", out: str = "", seconds: str = "0") -> None:
    if not path:
        print(version(engine))
        return
    x = np.load(inputs)
    run = open_model(engine, path)
    rows: list[Any] = []
    times: list[int] = []
    for index in range(len(x)):
        start = time.perf_counter_ns()
        embedding = run(x[index : index + 1])
        times.append(time.perf_counter_ns() - start)
        rows.append(embedding.copy())
    times = times[1:] if float(seconds) else []  # the first one also planned the memory
    left_ns = int(float(seconds) * 1e9) - sum(times)
    while left_ns > 0:  # a slow backbone has been timed enough on the rows themselves
        start = time.perf_counter_ns()
        run(x[len(times) % len(x)][None])
        times.append(time.perf_counter_ns() - start)
        left_ns -= times[-1]
    np.savez(out, embedding=np.stack(rows).astype(np.float32), times_ns=np.array(times, np.int64))


if __name__ == "__main__":
    main(*sys.argv[1:])
