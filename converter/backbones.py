"""Writing the backbone in every form asked for, and keeping those that are proven to match the source model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from converter.export import Exporter, Job
from converter.options import PRECISIONS, Options
from converter.rounding import ROUNDINGS
from converter.runtimes import Run, Runtime, installed_runtimes
from converter.scoring import agreement, score
from converter.source import Source
from converter.training_data import TrainingData
from converter.versions import at_least, flex_operators, oldest_runtimes
from headway.arrays import Float32, Int64, describe
from headway.errors import ConfigError, ModelError
from headway.head import Head, link
from headway.variant import Backbone

PROOF_ROWS_MAX = 512
ROUNDING_MAX = 1e-4  # what differs by more is a fault, whatever the model's own rounding
TIMING_S = 0.2
SUFFIX = {"tflite": ".tflite", "onnx": ".onnx"}
FORMS = {"any": "any batch", "one": "batch of one", "unrolled": "unrolled"}


@dataclass(frozen=True, slots=True)
class Reference:
    """What the source model makes of the proof rows. rows: int64 (m,); inputs preprocessed; outputs after its link."""

    rows: Int64
    inputs: Float32
    embedding: Float32
    outputs: Float32
    score: float


@dataclass(frozen=True, slots=True)
class Proof:
    """One backbone on one runtime. parity: max |difference| over the features' scale; drop in points.

    form: how the backbone was written down; attempt: 1 for the first form, more when others had not run or matched.
    rounding: of the source model's own float32 outputs, asked for only where they differ by more than was allowed;
    four times that is then allowed (converter/rounding.py).
    """

    engine: str
    precision: str
    runtime: str
    version: str
    parity: float = 0.0
    probability_parity: float = 0.0
    agreement: float = 0.0
    score: float = 0.0
    drop_points: float = 0.0
    latency_us: float = 0.0
    payload_bytes: int = 0
    refused: str = ""
    form: str = ""
    attempt: int = 1
    rounding: float = 0.0

    @property
    def measured(self) -> bool:
        """It ran, so there are figures, even where they are the reason to refuse it."""
        return self.latency_us > 0


@dataclass(frozen=True, slots=True)
class Written:
    """Backbones that passed, best match first; all proofs, failed ones too; combinations left out, with the reason."""

    backbones: tuple[Backbone, ...]
    proofs: tuple[Proof, ...]
    left_out: tuple[str, ...]


def write_backbones(
    source: Source,
    head: Head,
    data: TrainingData,
    reference: Reference,
    options: Options,
    exporter: Exporter,
    progress: Callable[[str], None],
) -> Written:
    """Export, run on every installed runtime, gate. Raises ModelError when nothing is left, with all the reasons.

    The next backbone is exported while this one is proven: exports and proofs run in processes of their own.
    """
    kept: list[Backbone] = []
    proofs: list[Proof] = []
    left_out: list[str] = []
    wanted = _wanted(source, options)
    runtimes = {engine: _runtimes(engine, options) for engine, _ in wanted}
    exports = ThreadPoolExecutor(1)  # one at a time, in the order asked for
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as scratch:
        np.save(Path(scratch) / "representative.npy", reference.inputs)
        provers = [
            _Prover(source, head, data, reference, options, exporter, exports, Path(scratch), engine, precision)
            for engine, precision in wanted
        ]
        try:
            begun = provers[0].begin()
            for prover, following in zip(provers, [*provers[1:], None], strict=True):
                progress(f"exporting {prover.engine} {prover.precision} and proving it on every runtime here")
                ready, begun = begun, begun if following is None else following.begin()
                backbone, tried, reasons = prover.best(runtimes[prover.engine], ready)
                proofs += tried
                if backbone is None:
                    left_out.append(f"{prover.engine} {prover.precision}: {'; '.join(dict.fromkeys(reasons))}")
                else:
                    kept.append(backbone)
        finally:
            exports.shutdown(wait=False, cancel_futures=True)
    if not kept:
        raise ModelError(f"no backbone passed: {' | '.join(left_out)}")
    return Written(tuple(kept), tuple(proofs), tuple(left_out))


def _runtimes(engine: str, options: Options) -> tuple[Runtime, ...]:
    runtimes = installed_runtimes(engine, options.tflite_python)
    if not runtimes:
        package = "onnxruntime" if engine == "onnx" else "ai-edge-litert"
        raise ConfigError(f"no {engine} runtime is installed to prove the backbone on; pip install {package}")
    return runtimes


def _wanted(source: Source, options: Options) -> list[tuple[str, str]]:
    """(engine, precision) pairs, the most exact first: the first one defines the feature space."""
    wanted: list[tuple[str, str]] = []
    for name, precision in PRECISIONS.items():
        for engine in ("tflite", "onnx"):
            if engine in options.formats and name in options.quantize:
                if engine not in source.formats:
                    raise ConfigError(f"an ONNX model gives ONNX backbones only, not {engine}; use --formats onnx")
                if engine == "tflite" or precision in ("float32", "int8"):
                    wanted.append((engine, precision))
    if not wanted:
        raise ConfigError("ONNX backbones come as --quantize none or int8; nothing else was asked for")
    return wanted


@dataclass(frozen=True, slots=True)
class _Prover:
    source: Source
    head: Head
    data: TrainingData
    reference: Reference
    options: Options
    exporter: Exporter
    exports: Executor
    scratch: Path
    engine: str
    precision: str

    def begin(self) -> Future[bytes]:
        """Start the export of the first form."""
        return self.exports.submit(self._export, self.source.forms()[0], False)

    def best(
        self, runtimes: tuple[Runtime, ...], first: Future[bytes]
    ) -> tuple[Backbone | None, list[Proof], list[str]]:
        """The first form every runtime here runs right; else the one that most do."""
        chosen: tuple[Backbone, list[Proof]] | None = None
        last: list[Proof] = []
        reasons: list[str] = []
        portables = (False, True) if self.engine == "tflite" and self.precision in ("dynamic", "int8") else (False,)
        attempt = 0
        for form in self.source.forms():
            for portable in portables:
                attempt += 1
                export = first if attempt == 1 else self.exports.submit(self._export, form, portable)
                try:
                    payload = export.result()
                except ModelError as error:
                    reasons.append(f"batch {form}: {error}")
                    continue
                named = FORMS[form] + (", dense per tensor" if portable else "")
                proofs = [self._prove(runtime, payload) for runtime in runtimes]
                last = [replace(proof, form=named, attempt=attempt) for proof in proofs]
                passed = [proof for proof in last if not proof.refused]
                if passed and (chosen is None or len(passed) > sum(not p.refused for p in chosen[1])):
                    chosen = self._backbone(payload, form, passed), last
                if len(passed) == len(runtimes):
                    return chosen[0] if chosen else None, last, []
                reasons += [proof.refused for proof in last if proof.refused]
                if self.precision != "float32" and all(proof.measured for proof in last):
                    # it runs everywhere and is not exact enough: another form computes the same numbers
                    return (chosen[0], chosen[1], []) if chosen else (None, last, reasons)
        return (chosen[0], chosen[1], []) if chosen else (None, last, [p.refused for p in last if p.refused] or reasons)

    def _export(self, form: str, portable: bool) -> bytes:
        saved = self.scratch / f"saved-{form}"
        if not saved.exists():
            self.source.save(saved, form)
        target = self.scratch / f"{form}-{self.precision}-{portable}{SUFFIX[self.engine]}"
        rows = str(self.scratch / "representative.npy")
        flex = self.options.allow_flex
        job = Job(self.engine, self.precision, str(saved), form, str(target), rows, portable, flex)
        payload = self.exporter.run(job)
        if self.engine == "tflite" and not flex and (found := flex_operators(payload)):
            raise ModelError(f"needs TensorFlow operators {found}; use other layers, or give --allow-flex")
        return payload

    def _backbone(self, payload: bytes, form: str, passed: list[Proof]) -> Backbone:
        oldest = oldest_runtimes(self.engine, payload)
        seen = {proof.runtime: oldest[proof.runtime] for proof in passed}
        member = f"backbone/{self.precision}{SUFFIX[self.engine]}"
        return Backbone(member, self.engine, self.precision, form != "one", payload, seen)

    def _prove(self, runtime: Runtime, payload: bytes) -> Proof:
        identity = (self.engine, self.precision, runtime.name, runtime.version)
        oldest = oldest_runtimes(self.engine, payload)[runtime.name]
        try:
            run = runtime.run(payload, self.reference.inputs, TIMING_S)
        except ModelError as error:
            why = "" if at_least(runtime.version, oldest) else f" (its operators need {oldest})"
            return Proof(*identity, payload_bytes=len(payload), refused=f"{error}{why}")
        return self._judge(identity, run, len(payload))

    def _judge(self, identity: tuple[str, str, str, str], run: Run, payload_bytes: int) -> Proof:
        expected = self.reference.embedding
        if run.embedding.shape != expected.shape or not np.isfinite(run.embedding).all():
            what = describe(run.embedding) if np.isfinite(run.embedding).all() else "values that are not finite"
            return Proof(*identity, refused=f"{identity[2]} gives {what}, the source model {describe(expected)}")
        scale = max(float(np.abs(expected).max()), 1e-12)
        parity = float(np.abs(run.embedding - expected).max()) / scale
        outputs = link(self.head.logits(run.embedding), self.head.kind)
        span = max(1.0, float(np.abs(self.reference.outputs).max()))
        probability_parity = float(np.abs(outputs - self.reference.outputs).max()) / span
        achieved = score(outputs, self.data, self.reference.rows, self.head.kind)
        drop = 100 * (self.reference.score - achieved)
        worst, rounding, refused = max(parity, probability_parity), 0.0, ""
        if self.precision == "float32" and self.options.difference_max < worst < ROUNDING_MAX:
            # in the thread of the exports: one of them may be changing layers of the model for its form
            rounding = self.exports.submit(self.source.rounding, self.reference.inputs).result()
        allowed = max(self.options.difference_max, ROUNDINGS * rounding)
        if self.precision == "float32" and worst > allowed:
            hint = f", or allow it with --max-difference {_above(worst)}" if worst < ROUNDING_MAX else ""
            refused = (
                f"differs from the source model on {identity[2]} by {parity:.1e} of the features' scale and "
                f"{probability_parity:.1e} in its outputs (at most {allowed:.0e}); a layer behaves differently after "
                f"conversion: replace it, or cut the model elsewhere with --cut{hint}"
            )
        elif drop > self.options.drop_points_max:
            refused = (
                f"loses {drop:.2f} points on {identity[2]} (at most {self.options.drop_points_max:g}); "
                "allow more with --max-drop"
            )
        agreed = agreement(outputs, self.reference.outputs, self.data, self.head.kind)
        return Proof(
            *identity, parity, probability_parity, agreed, achieved, drop, run.latency_us, payload_bytes, refused,
            rounding=rounding,
        )  # fmt: skip


def _above(difference: float) -> str:
    """The next of 1, 2 or 5 times a power of ten, e.g. ``5e-05`` for 3.2e-5."""
    power = 10.0 ** np.floor(np.log10(difference))
    return f"{next(step * power for step in (1, 2, 5, 10) if step * power > difference):.0e}"
