"""Which backbone runs: proven first, versions checked, probes agreed. Fake runtimes, as real modules on the path."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent import runtime
from edge_agent.runtime import open_runtime
from headway.bundle.variant import Backbone, Variant
from headway.errors import RuntimeUnavailableError
from tests.arrays import assert_same
from tests.edge_agent.variants import variant

INTERPRETER = '''
import numpy as np
opened = []
class Interpreter:
    """Gives back its input; what the payload says goes wrong."""
    def __init__(self, model_content, num_threads):
        opened.append(model_content)
        if b"crash" in model_content:
            raise ValueError("Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'.\\nRegistration failed.")
        self.noise = 1.0 if b"wrong" in model_content else 0.0
        self.shape = (1, 1) if b"batch" in model_content else (1, 8)
    def get_input_details(self):
        return [{"index": 0, "shape": np.array(self.shape)}]
    def get_output_details(self):
        return [{"index": 1}]
    def resize_tensor_input(self, index, shape):
        self.shape = shape
    def allocate_tensors(self):
        pass
    def set_tensor(self, index, value):
        assert value.shape == tuple(self.shape)
        self.value = value
    def invoke(self):
        pass
    def get_tensor(self, index):
        return self.value + self.noise
'''
SESSION = """
class SessionOptions: pass
class Input: name = "x"
class InferenceSession:
    def __init__(self, payload, options, providers):
        if b"crash" in payload: raise RuntimeError("no such opset")
    def get_inputs(self): return [Input()]
    def run(self, names, feeds): return [feeds["x"]]
"""
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(distribution, version): from then on that fake is all there is, beside earlier ones."""
    versions: dict[str, str] = {}
    modules = ("ai_edge_litert", "tflite_runtime", "onnxruntime")
    for name in [name for name in sys.modules if name.split(".")[0] in modules]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = runtime.importlib.util.find_spec

    def find_spec(name: str) -> Any:
        return found(name) if name not in modules or name.replace("_", "-") in versions else None

    monkeypatch.setattr(runtime.importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: versions[name])

    def add(distribution: str, version: str) -> None:
        versions[distribution] = version
        package = tmp_path / distribution.replace("-", "_")
        package.mkdir()
        (package / "__init__.py").write_text(f"__version__ = {version!r}\n" + SESSION)
        (package / "interpreter.py").write_text(INTERPRETER)

    yield add
    # a fake that was imported must not be what later tests find under its name
    for name in [name for name in sys.modules if name.split(".")[0] in modules]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def old_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device with tflite-runtime."""
    monkeypatch.setattr(np, "__version__", "1.26.4")


def holding(*backbones: Backbone) -> Variant:
    return replace(variant(), backbones=backbones)


def tflite(precision: str, payload: bytes = b"identity", **runtimes: str) -> Backbone:
    oldest = {name.replace("_", "-"): version for name, version in runtimes.items()}
    return Backbone(f"backbone/{precision}.tflite", "tflite", precision, True, payload, oldest)


def onnx(precision: str, payload: bytes = b"identity", **runtimes: str) -> Backbone:
    return Backbone(f"backbone/{precision}.onnx", "onnx", precision, True, payload, runtimes)


def refusal(bundle: Variant) -> str:
    with pytest.raises(RuntimeUnavailableError) as caught:
        open_runtime(bundle)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 6
    return str(caught.value)


def test_the_most_exact_proven_backbone_is_taken(install: Install) -> None:
    install("ai-edge-litert", "2.3.0")
    bundle = holding(
        tflite("int8", ai_edge_litert="1.0.1"), tflite("float16", ai_edge_litert="1.0.1"), tflite("float32")
    )
    assert open_runtime(bundle).name == "ai_edge_litert 2.3.0 float16"


def test_what_nobody_tried_is_better_than_nothing(install: Install) -> None:
    install("ai-edge-litert", "2.3.0")
    assert open_runtime(holding(tflite("float32", tflite_runtime="2.14.0"))).name.endswith("float32")


def test_each_runtime_gets_the_form_proven_on_it(install: Install) -> None:
    install("tflite-runtime", "2.14.0")
    bundle = holding(tflite("float32", b"crash", ai_edge_litert="2.0.0"), tflite("dynamic", tflite_runtime="2.3.0"))
    assert open_runtime(bundle).name == "tflite_runtime 2.14.0 dynamic"
    module = sys.modules["tflite_runtime.interpreter"]
    assert module.opened == [b"identity"]  # type: ignore[attr-defined]


def test_a_runtime_that_is_too_old_is_named_with_both_versions(install: Install) -> None:
    install("tflite-runtime", "2.5.0")
    said = refusal(holding(tflite("float32", tflite_runtime="2.14.0")))
    assert "backbone/float32.tflite needs tflite-runtime 2.14.0 or newer, found 2.5.0" in said
    assert "install tflite-runtime>=2.14.0" in said


def test_versions_are_numbers_not_texts(install: Install) -> None:
    install("onnxruntime", "1.9.0")
    assert "needs onnxruntime 1.12 or newer, found 1.9.0" in refusal(holding(onnx("float32", onnxruntime="1.12")))


def test_nothing_installed_says_what_would_do(install: Install) -> None:
    newer = tflite("float16", ai_edge_litert="2.10.0")
    said = refusal(holding(newer, tflite("float32", ai_edge_litert="2.0.0", tflite_runtime="2.3.0"), onnx("float32")))
    assert "ai-edge-litert is not installed; tflite-runtime is not installed; onnxruntime is not installed" in said
    assert "install ai-edge-litert>=2.0.0 or tflite-runtime>=2.3.0" in said


def test_tflite_runtime_under_numpy_2_is_one_clear_line(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    install("tflite-runtime", "2.14.0")
    said = refusal(holding(tflite("float32", tflite_runtime="2.3.0")))
    assert "tflite-runtime needs numpy<2, found 2.1.0: pip install 'numpy<2'" in said
    assert "tflite_runtime.interpreter" not in sys.modules


def test_numpy_is_not_blamed_for_a_runtime_that_is_not_there(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    assert "numpy" not in refusal(holding(tflite("float32")))


def test_a_runtime_that_computes_something_else_is_not_trusted(install: Install) -> None:
    install("ai-edge-litert", "2.3.0")
    proven = tflite("float32", b"wrong", ai_edge_litert="2.0.0")
    assert "differs from the converter's output by" in refusal(holding(proven))
    assert open_runtime(holding(proven, tflite("float16", ai_edge_litert="2.0.0"))).name.endswith("float16")


def test_a_backbone_that_does_not_load_is_named_in_one_line(install: Install) -> None:
    install("ai-edge-litert", "2.3.0")
    said = refusal(holding(tflite("int8", b"crash", ai_edge_litert="2.0.0")))
    assert "cannot run backbone/int8.tflite: Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'." in said


def test_onnx_runs_where_tflite_cannot(install: Install) -> None:
    install("onnxruntime", "1.20.1")
    bundle = holding(tflite("float32", ai_edge_litert="2.0.0"), onnx("float32", onnxruntime="1.12"))
    assert open_runtime(bundle).name == "onnxruntime 1.20.1 float32"


def test_one_window_at_a_time_whatever_shape_the_file_has(install: Install) -> None:
    install("ai-edge-litert", "2.3.0")
    opened = open_runtime(holding(tflite("float32", b"batch", ai_edge_litert="2.0.0")))
    x = np.arange(24, dtype=np.float32).reshape(3, 8)
    assert_same(opened.embed(x), x)


class Stopwatch:
    """Each reading is later by what the test says; readings come in pairs around a run."""

    def __init__(self, *durations_s: float) -> None:
        self._left, self._now_s, self._inside = list(durations_s), 0.0, False

    def monotonic_s(self) -> float:
        if self._inside:
            self._now_s += self._left.pop(0)
        self._inside = not self._inside
        return self._now_s

    def wall_s(self) -> float:
        return 0.0


def test_with_a_clock_the_fastest_that_passes_is_taken(install: Install) -> None:
    install("ai-edge-litert", "2.3.0")
    bundle = holding(
        tflite("float32", ai_edge_litert="2.0.0"), tflite("float16", b"wrong", ai_edge_litert="2.0.0"),
        tflite("int8", ai_edge_litert="2.0.0"),
    )  # fmt: skip
    rounds = runtime.TIMING_ROUNDS + 1
    slow_then_fast = Stopwatch(*[3.0] * rounds, 9.0, *[1.0] * (rounds - 1))
    assert open_runtime(bundle, slow_then_fast).name.endswith("int8")
    fast_then_slow = Stopwatch(*[1.0] * rounds, *[3.0] * rounds)
    assert open_runtime(bundle, fast_then_slow).name.endswith("float32")
