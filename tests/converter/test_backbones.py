"""Which forms are tried, which backbones pass, what is said about the others. Fake source, exporter and runtimes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from converter.export import export_queue
from converter.export.export import Job
from converter.export.export_queue import ExportQueue
from converter.features.data import training_data
from converter.options import Options
from converter.proof import backbones
from converter.proof.backbones import Written, begin_first, write_backbones
from converter.proof.parity_gate import Reference
from converter.proof.runtimes import Run
from converter.sources.source import HeadWeights
from headway.arrays import Float32
from headway.errors import ConfigError, ModelError
from headway.maths.head import HeadKind

RANDOM = np.random.default_rng(0)
EMBEDDING = RANDOM.normal(size=(40, 4)).astype(np.float32)
KERNEL = RANDOM.normal(size=(4, 3)).astype(np.float32)
WEIGHTS = HeadWeights(KERNEL, np.zeros(3, np.float32), HeadKind.SOFTMAX, "dense")
HEAD = WEIGHTS.head(("a", "b", "c"))
OUTPUTS = HEAD.probabilities(EMBEDDING)
DATA = training_data(EMBEDDING, OUTPUTS.argmax(axis=1), ("a", "b", "c"))
REFERENCE = Reference(np.arange(40), EMBEDDING, EMBEDDING, OUTPUTS, 1.0)


@dataclass
class FakeSource:
    """The identity, in two forms."""

    formats: tuple[str, ...] = ("tflite", "onnx")
    name: str = "fake"
    input_shape: tuple[int, ...] = (4,)
    weights: HeadWeights = WEIGHTS

    def answers(self, inputs: Float32) -> tuple[Float32, Float32]:
        return inputs, HEAD.probabilities(inputs)

    def exact(self, inputs: Float32) -> None:
        return None

    def forms(self) -> tuple[str, ...]:
        return ("any", "one")

    def save(self, folder: Path, form: str) -> None:
        folder.mkdir()


@dataclass
class FakeExporter:
    """Writes down what was asked for; `fails` says for which jobs the converter breaks."""

    fails: Callable[[Job], bool] = lambda job: False
    jobs: list[Job] = field(default_factory=list)

    def run(self, job: Job) -> bytes:
        self.jobs.append(job)
        if self.fails(job):
            raise ModelError(f"the {job.engine} converter crashed with signal 11")
        return f"{job.engine} {job.precision} {job.form} portable={job.portable}".encode()


@dataclass
class FakeRuntime:
    """Gives the inputs back through `change`; raises what it returns when that is an error."""

    name: str
    change: Callable[[bytes, Float32], Float32 | ModelError] = lambda payload, x: x
    version: str = "2.0.0"

    def run(self, payload: bytes, inputs: Float32, seconds: float = 0.0) -> Run:
        result = self.change(payload, inputs)
        if isinstance(result, ModelError):
            raise result
        return Run(result, 10.0)


def write(
    monkeypatch: pytest.MonkeyPatch,
    runtimes: list[FakeRuntime],
    options: Options | None = None,
    exporter: FakeExporter | None = None,
    flex: list[str] | None = None,
    source: FakeSource | None = None,
) -> Written:
    monkeypatch.setattr(backbones, "installed_runtimes", lambda engine, python: runtimes)
    monkeypatch.setattr(export_queue, "flex_operators", lambda payload: flex or [])
    monkeypatch.setattr(
        backbones,
        "oldest_runtimes",
        lambda engine, payload: {"ai-edge-litert": "1.0.1", "tflite-runtime": "2.14.0", "onnxruntime": "1.12"},
    )
    options, source = options or Options(), source or FakeSource()
    with ExportQueue(source, EMBEDDING, exporter or FakeExporter(), options.allow_flex) as exports:
        first = begin_first(source, options, exports)
        return write_backbones(source, HEAD, DATA, REFERENCE, options, exports, first, lambda step: None)


def test_the_first_form_that_runs_everywhere_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = FakeExporter()
    written = write(monkeypatch, [FakeRuntime("ai-edge-litert"), FakeRuntime("tflite-runtime")], exporter=exporter)
    (only,) = written.backbones
    assert (only.member, only.dynamic_batch) == ("backbone/float32.tflite", True)
    assert only.runtimes == {"ai-edge-litert": "1.0.1", "tflite-runtime": "2.14.0"}
    assert len(exporter.jobs) == 1


def test_a_form_the_older_runtime_can_read_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    def old(payload: bytes, x: Float32) -> Float32 | ModelError:
        refuses = b"dynamic" in payload and b"portable=False" in payload
        return ModelError("FULLY_CONNECTED version '12'") if refuses else x

    runtimes = [FakeRuntime("ai-edge-litert"), FakeRuntime("tflite-runtime", old)]
    written = write(monkeypatch, runtimes, Options(quantize=("dynamic",)))
    assert written.backbones[0].payload == b"tflite dynamic any portable=True"
    assert set(written.backbones[0].runtimes) == {"ai-edge-litert", "tflite-runtime"}
    assert written.left_out == ()


def test_only_runtimes_that_ran_it_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    runtimes = [FakeRuntime("ai-edge-litert"), FakeRuntime("tflite-runtime", lambda p, x: ModelError("no op"))]
    written = write(monkeypatch, runtimes)
    assert set(written.backbones[0].runtimes) == {"ai-edge-litert"}
    assert [proof.refused for proof in written.proofs] == ["", "no op (its operators need 2.14.0)"]


def test_another_form_is_tried_when_the_converter_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = FakeExporter(fails=lambda job: job.form == "any")
    written = write(monkeypatch, [FakeRuntime("ai-edge-litert")], exporter=exporter)
    assert written.backbones[0].payload == b"tflite float32 one portable=False"
    assert not written.backbones[0].dynamic_batch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, x: x + np.float32(1e-3), "differs from the source model on ai-edge-litert by "),
        (lambda p, x: x[:, :2], "gives float32 (40, 2), the source model float32 (40, 4)"),
        (lambda p, x: x * np.float32(np.nan), "gives values that are not finite"),
        (lambda p, x: ModelError("it crashed with signal 11"), "it crashed with signal 11"),
    ],
)
def test_a_float32_backbone_that_does_not_match_is_never_written(
    change: Callable[[bytes, Float32], Float32 | ModelError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError) as caught:
        write(monkeypatch, [FakeRuntime("ai-edge-litert", change)])
    assert "no backbone passed: tflite float32: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parity_is_measured_in_the_features_own_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    scale = float(np.abs(EMBEDDING).max())
    within = write(monkeypatch, [FakeRuntime("ai-edge-litert", lambda p, x: x + np.float32(5e-6 * scale))])
    assert 2e-6 < within.proofs[0].parity < 1e-5


def test_a_quantised_backbone_may_differ_but_not_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    def coarse(payload: bytes, x: Float32) -> Float32:
        if b"int8" in payload:
            return -x
        return np.asarray(np.round(x, 2), np.float32) if b"float16" in payload else x

    written = write(monkeypatch, [FakeRuntime("ai-edge-litert", coarse)], Options(quantize=("none", "float16", "int8")))
    assert [b.precision for b in written.backbones] == ["float32", "float16"]
    (reason,) = written.left_out
    assert reason.startswith("tflite int8: loses ")
    assert "points on ai-edge-litert (at most 0.5); allow more with --max-drop" in reason
    assert reason.count("loses") == 1


def test_a_wide_gate_lets_it_through(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(quantize=("int8",), drop_points_max=100, agreement_percent_min=0)
    assert write(monkeypatch, [FakeRuntime("ai-edge-litert", lambda p, x: -x)], options).proofs[0].drop_points > 50


def test_flex_operators_are_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"needs TensorFlow operators \['FlexErf'\]; use other layers, or give"):
        write(monkeypatch, [FakeRuntime("ai-edge-litert")], flex=["FlexErf"])
    assert write(monkeypatch, [FakeRuntime("ai-edge-litert")], Options(allow_flex=True), flex=["FlexErf"]).backbones


def test_without_a_runtime_nothing_can_be_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no tflite runtime is installed to prove the backbone on; pip install ai-ed"):
        write(monkeypatch, [])


def test_both_engines_in_order_of_exactness(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(
        formats=("onnx", "tflite"), quantize=("int8", "none"), drop_points_max=100, agreement_percent_min=0
    )
    written = write(monkeypatch, [FakeRuntime("onnxruntime")], options)
    assert [b.member for b in written.backbones] == [
        "backbone/float32.tflite", "backbone/float32.onnx", "backbone/int8.tflite", "backbone/int8.onnx",
    ]  # fmt: skip


def test_the_next_backbone_is_exported_while_this_one_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    exported = Event()

    class Announcing(FakeExporter):
        def run(self, job: Job) -> bytes:
            payload = super().run(job)
            if job.precision == "float16":
                exported.set()
            return payload

    def proof(payload: bytes, x: Float32) -> Float32 | ModelError:
        return x if exported.wait(10) else ModelError("the export waited for the proof")

    written = write(
        monkeypatch, [FakeRuntime("ai-edge-litert", proof)], Options(quantize=("none", "float16")), Announcing()
    )
    assert [b.precision for b in written.backbones] == ["float32", "float16"]
