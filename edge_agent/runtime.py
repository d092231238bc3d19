"""Running the frozen backbone: LiteRT, tflite-runtime or ONNX Runtime behind one protocol, imported lazily.

Windows go through one at a time. On these devices a batch gains little, and one fixed shape gives the same bits
for a window whatever it arrives with.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np

from headway.arrays import Float32, describe
from headway.errors import BundleError, RuntimeUnavailableError
from headway.variant import Backbone, Variant

PROBE_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "dynamic": 0.25, "int8": 0.25}


class Runtime(Protocol):
    """An executable backbone."""

    @property
    def name(self) -> str:
        """Engine and precision, for people: ``ai-edge-litert 2.3.0 float32``."""
        ...

    def embed(self, inputs: Float32) -> Float32:
        """Preprocessed windows -> embeddings. inputs: float32 (n, *input_shape) -> float32 (n, e)."""
        ...


class TFLiteRuntime:
    """A ``.tflite`` backbone on ai-edge-litert or tflite-runtime; both have the same interpreter class."""

    def __init__(self, module: str, backbone: Backbone, input_shape: tuple[int, ...]) -> None:
        interpreter_class: Any = importlib.import_module(f"{module}.interpreter").Interpreter
        self.name = f"{module} {_version(module)} {backbone.precision}"
        self._interpreter = interpreter_class(model_content=backbone.payload, num_threads=1)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BundleError(f"{backbone.member} has {len(inputs)} inputs and {len(outputs)} outputs; needs 1 and 1")
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        if tuple(inputs[0]["shape"]) != (1, *input_shape):
            self._interpreter.resize_tensor_input(self._input, (1, *input_shape))
        self._interpreter.allocate_tensors()

    def embed(self, inputs: Float32) -> Float32:
        rows = []
        for start in range(len(inputs)):
            self._interpreter.set_tensor(self._input, inputs[start : start + 1])
            self._interpreter.invoke()
            rows.append(self._interpreter.get_tensor(self._output).reshape(-1))
        return np.stack(rows).astype(np.float32, copy=False)


class OnnxRuntime:
    """An ``.onnx`` backbone on onnxruntime, one thread."""

    def __init__(self, module: str, backbone: Backbone, input_shape: tuple[int, ...]) -> None:
        onnxruntime: Any = importlib.import_module(module)
        self.name = f"{module} {_version(module)} {backbone.precision}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(backbone.payload, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def embed(self, inputs: Float32) -> Float32:
        rows = [self._session.run(None, {self._input: inputs[i : i + 1]})[0].reshape(-1) for i in range(len(inputs))]
        return np.stack(rows).astype(np.float32, copy=False)


ENGINES: dict[str, tuple[tuple[str, Callable[[str, Backbone, tuple[int, ...]], Runtime]], ...]] = {
    "tflite": (("ai_edge_litert", TFLiteRuntime), ("tflite_runtime", TFLiteRuntime)),
    "onnx": (("onnxruntime", OnnxRuntime),),
}


def open_runtime(variant: Variant) -> Runtime:
    """The first backbone of the bundle that an installed runtime loads, and proves on the bundle's probe windows.

    Raises RuntimeUnavailableError that lists what was tried and why each failed.
    """
    failures: list[str] = []
    for backbone, module, open_one in _combinations(variant.backbones):
        try:
            if module == "tflite_runtime" and int(np.__version__.split(".")[0]) >= 2:
                failures.append(f"tflite_runtime needs numpy<2, found {np.__version__}")
                continue
            runtime = open_one(module, backbone, variant.input_shape)
        except ModuleNotFoundError:
            failures.append(f"{module} is not installed")
            continue
        except (RuntimeError, ValueError, OSError, SystemError, ImportError) as error:
            failures.append(f"{module} cannot load {backbone.member}: {str(error)[:120]}")
            continue
        problem = _probe(runtime, variant, backbone)
        if problem is None:
            return runtime
        failures.append(f"{runtime.name}: {problem}")
    reasons = "; ".join(dict.fromkeys(failures))
    raise RuntimeUnavailableError(
        f"no runtime here can run bundle {variant.name} {variant.version}: {reasons}. "
        "Install one with: pip install 'headway[litert]'"
    )


def _combinations(
    backbones: Iterable[Backbone],
) -> Iterable[tuple[Backbone, str, Callable[[str, Backbone, tuple[int, ...]], Runtime]]]:
    for backbone in backbones:
        for module, open_one in ENGINES[backbone.engine]:
            yield backbone, module, open_one


def _probe(runtime: Runtime, variant: Variant, backbone: Backbone) -> str | None:
    """Why the runtime's output is not the one the converter saw; None when it agrees."""
    inputs, _ = variant.preprocessing.apply(variant.probe_inputs)
    embedding = runtime.embed(inputs)
    expected = variant.probe_embedding
    if embedding.shape != expected.shape:
        return f"gives {describe(embedding)}, the bundle says {describe(expected)}"
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-6)
    difference = float(np.abs(embedding - expected).max(initial=0.0)) / scale
    tolerance = PROBE_TOLERANCE[backbone.precision]
    if not difference <= tolerance:
        return f"differs from the converter's output by {difference:.2g} of its scale (at most {tolerance:g})"
    return None


def _version(module: str) -> str:
    return str(getattr(importlib.import_module(module), "__version__", "?"))
