"""ONNX backbones where no ONNX Runtime is: run by the reference evaluator of the onnx package, which is NumPy.

Saved state of earlier versions names a bundle whose only backbone is ONNX. Whether it opens must be known of every
Python, NumPy and runtime that a device may have.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from edge_agent import runtime
from headway.arrays import Float32
from headway.bundle import Backbone


class ReferenceRuntime:
    """One backbone, opened as `edge_agent.runtime.OnnxRuntime` opens it."""

    def __init__(self, module: str, backbone: Backbone, input_shape: tuple[int, ...]) -> None:
        import onnx.reference

        self.name = f"{module} reference {backbone.precision}"
        self._evaluator = onnx.reference.ReferenceEvaluator(onnx.load_from_string(backbone.payload))
        self._input = self._evaluator.input_names[0]

    def embed(self, inputs: Float32) -> Float32:
        rows = [self._evaluator.run(None, {self._input: inputs[i : i + 1]})[0].reshape(-1) for i in range(len(inputs))]
        return np.stack(rows).astype(np.float32, copy=False)


def use_where_no_runtime_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends."""
    if importlib.util.find_spec("onnxruntime") is None:
        monkeypatch.setitem(runtime.ENGINES, "onnx", (runtime.Engine("onnx", "onnx", ReferenceRuntime),))
