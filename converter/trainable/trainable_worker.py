"""Trains a trainable .tflite: python trainable_worker.py ENGINE MODEL IN.npz OUT.npz.

IN: kernel (e, C) and bias (C,) to start from; infer (m, ...), windows to answer; x (n, ...) and y (n, C) to train on;
rate () and steps (). OUT: output (m, C); kernels (steps, e, C), biases (steps, C) and losses (steps,) on the way.
Stands alone (NumPy and one runtime), because it also runs inside the environment of tflite-runtime.
"""

from __future__ import annotations

import sys

import numpy as np


def main(engine: str, path: str, inputs: str, out: str) -> None:
    if engine == "tflite-runtime":
        from tflite_runtime.interpreter import Interpreter
    else:
        from ai_edge_litert.interpreter import Interpreter
    with np.load(inputs) as loaded:
        given = dict(loaded)
    interpreter = Interpreter(model_path=path, num_threads=1)
    infer, train, get_head, set_head = (
        interpreter.get_signature_runner(name) for name in ("infer", "train", "get_head", "set_head")
    )
    set_head(kernel=given["kernel"], bias=given["bias"])
    output = infer(x=given["infer"])["output"].copy()
    kernels, biases, losses = [], [], []
    for _ in range(int(given["steps"])):
        losses.append(float(train(x=given["x"], y=given["y"], learning_rate=given["rate"])["loss"]))
        head = get_head(unused=np.zeros(1, np.float32))
        kernels.append(head["kernel"].copy())
        biases.append(head["bias"].copy())
    np.savez(out, output=output, kernels=np.stack(kernels), biases=np.stack(biases), losses=np.array(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
