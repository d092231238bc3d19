"""Runs the frozen backbone: LiteRT, tflite-runtime or ONNX Runtime behind one protocol, imported lazily; or nothing.

Windows go through one at a time. On these devices a batch gains little, and one fixed shape gives the same bits
for a window whatever it arrives with.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edge_agent.combinations import combination_here
from headway.arrays import Float32, describe
from headway.bundle import Backbone, Variant
from headway.errors import BundleError, RuntimeUnavailableError
from headway.ports import Clock

PROBE_TOLERANCE = {"float32": 1e-3, "float16": 2e-2, "dynamic": 0.25, "int8": 0.25}
PRECISION_ORDER = tuple(PROBE_TOLERANCE)
TIMING_ROUNDS = 5


class Runtime(Protocol):
    """An executable backbone."""

    @property
    def name(self) -> str:
        """Engine and precision, for people: ``ai-edge-litert 2.3.0 float32``."""
        ...

    def embed(self, inputs: Float32) -> Float32:
        """Preprocessed windows -> embeddings. inputs: float32 (n, *output_shape) -> float32 (n, e)."""
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


class NoRuntime:
    """For a bundle without a backbone: the embedding is the preprocessed window, and NumPy is all that is needed."""

    name = "no backbone, NumPy alone"

    def embed(self, inputs: Float32) -> Float32:
        return inputs.reshape(len(inputs), -1)


@dataclass(frozen=True, slots=True)
class Engine:
    """An inference runtime that may be installed: its distribution, its module, and how it opens a backbone."""

    distribution: str
    module: str
    open: Callable[[str, Backbone, tuple[int, ...]], Runtime]

    def version(self) -> str | None:
        """Of the installed one; None when it is not installed."""
        if importlib.util.find_spec(self.module) is None:
            return None
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return _version(self.module)


ENGINES: dict[str, tuple[Engine, ...]] = {
    "tflite": (
        Engine("ai-edge-litert", "ai_edge_litert", TFLiteRuntime),
        Engine("tflite-runtime", "tflite_runtime", TFLiteRuntime),
    ),
    "onnx": (Engine("onnxruntime", "onnxruntime", OnnxRuntime),),
}

EXTRAS = {"ai-edge-litert": "litert", "tflite-runtime": "tflite", "onnxruntime": "onnx"}


def open_runtime(variant: Variant, clock: Clock | None = None) -> Runtime:
    """A backbone of the bundle on a runtime of this device, proven on the bundle's probe windows.

    First what the converter saw run here (the runtime's name and its oldest version stand in the manifest), then
    what nobody has tried; among equals the most exact one. With a `clock`, all that pass are timed and the fastest
    is taken: int8 is six times slower than float32 on one runtime and twice as fast on another (measured,
    benchmarks/README.md), so only the device itself can tell.
    Raises RuntimeUnavailableError that lists what was tried and why each failed.
    """
    if variant.without_backbone:
        return _without_backbone(variant)
    proven, untried, failures = _candidates(variant.backbones)
    for candidates in (proven, untried):
        passed: list[Runtime] = []
        for engine, backbone in candidates:
            try:
                runtime = engine.open(engine.module, backbone, variant.preprocessing.output_shape)
                problem = _probe(runtime, variant, backbone.precision)
            except (RuntimeError, ValueError, TypeError, OSError, SystemError, ImportError, BundleError) as error:
                words = (str(error).strip() or type(error).__name__).splitlines()[0]
                failures.append(f"{engine.distribution} cannot run {backbone.member}: {words[:120]}")
                continue
            if problem is not None:
                failures.append(f"{runtime.name}: {problem}")
            elif clock is None:
                return runtime
            else:
                passed.append(runtime)
        if passed and clock is not None:
            inputs, _ = variant.preprocessing.apply(variant.probe_inputs)
            return min(passed, key=lambda runtime: _latency_s(runtime, inputs, clock))
    raise RuntimeUnavailableError(
        f"no runtime here can run bundle {variant.name} {variant.version}: {'; '.join(dict.fromkeys(failures))}; "
        f"install {_advice(variant.backbones)}, or convert the model for what is here"
    )


def _without_backbone(variant: Variant) -> Runtime:
    runtime = NoRuntime()
    problem = _probe(runtime, variant, "float32")
    if problem is not None:
        raise RuntimeUnavailableError(
            f"the features of bundle {variant.name} {variant.version}, as this device computes them: {problem}; "
            "install another NumPy, or convert the data again"
        )
    return runtime


def _candidates(
    backbones: Iterable[Backbone],
) -> tuple[list[tuple[Engine, Backbone]], list[tuple[Engine, Backbone]], list[str]]:
    """Combinations the converter proved, those it never tried, and why the others cannot be."""
    proven: list[tuple[Engine, Backbone]] = []
    untried: list[tuple[Engine, Backbone]] = []
    failures: list[str] = []
    for backbone in sorted(backbones, key=lambda backbone: PRECISION_ORDER.index(backbone.precision)):
        for engine in ENGINES[backbone.engine]:
            version, oldest = engine.version(), backbone.runtimes.get(engine.distribution)
            if version is None:
                failures.append(f"{engine.distribution} is not installed")
            elif (problem := combination_here(engine.distribution).conflict()) is not None:
                # importing it might end in a SystemError without a word about the cause
                failures.append(problem)
            elif oldest is not None and _parts(version) < _parts(oldest):
                failures.append(f"{backbone.member} needs {engine.distribution} {oldest} or newer, found {version}")
            else:
                (untried if oldest is None else proven).append((engine, backbone))
    return proven, untried, failures


def _probe(runtime: Runtime, variant: Variant, precision: str) -> str | None:
    """Why the runtime's output is not the one the converter saw; None when it agrees."""
    inputs, _ = variant.preprocessing.apply(variant.probe_inputs)
    embedding = runtime.embed(inputs)
    expected = variant.probe_embedding
    if embedding.shape != expected.shape:
        return f"gives {describe(embedding)}, the bundle says {describe(expected)}"
    scale = max(float(np.abs(expected).max(initial=0.0)), 1e-6)
    difference = float(np.abs(embedding - expected).max(initial=0.0)) / scale
    tolerance = PROBE_TOLERANCE[precision]
    if not difference <= tolerance:
        return f"differs from the converter's output by {difference:.2g} of its scale (at most {tolerance:g})"
    return None


def _latency_s(runtime: Runtime, inputs: Float32, clock: Clock) -> float:
    """Median of a few rounds over the probe windows, after one to warm up."""
    times_s = []
    for _ in range(TIMING_ROUNDS + 1):
        start_s = clock.monotonic_s()
        runtime.embed(inputs)
        times_s.append(clock.monotonic_s() - start_s)
    return float(np.median(times_s[1:]))


def _advice(backbones: Iterable[Backbone]) -> str:
    """What to install for any of these backbones, e.g. ``onnxruntime>=1.12 (pip install 'headway[onnx]')``."""
    wanted: dict[str, str] = {}
    for backbone in backbones:
        for name, oldest in sorted(backbone.runtimes.items()):
            wanted[name] = min(wanted.get(name, oldest), oldest, key=_parts)
    packages = [f"{name}>={oldest}" for name, oldest in wanted.items()] or ["ai-edge-litert", "onnxruntime"]
    extras = [f"'headway[{EXTRAS[name]}]'" for name in wanted or ("ai-edge-litert", "onnxruntime")]
    return f"{' or '.join(packages)} (pip install {' or '.join(extras)})"


def _version(module: str) -> str:
    return str(getattr(importlib.import_module(module), "__version__", "0"))


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
