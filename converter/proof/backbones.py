"""Exports the backbone in every requested form, and keeps those that are proven to match the source model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from converter.export import SUFFIX, ExportQueue, at_least, oldest_runtimes
from converter.features import TrainingData
from converter.options import PRECISIONS, Options
from converter.proof.parity_gate import ParityGate, Proof, Reference
from converter.proof.runtimes import Runtime, installed_runtimes
from converter.sources import Source
from headway.arrays import Float32
from headway.bundle import Backbone
from headway.errors import ConfigError, ModelError
from headway.maths import Head

PROOF_ROWS_MAX = 512
TIMING_S = 0.2
FORMS = {"any": "any batch", "one": "batch of one", "unrolled": "unrolled"}


@dataclass(frozen=True, slots=True)
class Written:
    """Backbones that passed, best match first; all proofs, failed ones too; combinations left out, with the reason.

    embedding: float32 (m, e) of the proof rows, as the first runtime that runs the first backbone right gave it.
    """

    backbones: tuple[Backbone, ...]
    proofs: tuple[Proof, ...]
    left_out: tuple[str, ...]
    embedding: Float32


def write_backbones(
    source: Source,
    head: Head,
    data: TrainingData,
    reference: Reference,
    options: Options,
    exports: ExportQueue,
    first: Future[bytes],
    progress: Callable[[str], None],
) -> Written:
    """Export, run on every installed runtime, gate. Raises ModelError when nothing is left, with all the reasons.

    first: what `begin_first` began. The next backbone is exported while this one is proven.
    """
    kept: list[Backbone] = []
    proofs: list[Proof] = []
    left_out: list[str] = []
    embedding = reference.embedding
    wanted = _wanted(source, options)
    runtimes = {engine: _runtimes(engine, options) for engine, _ in wanted}
    exact = functools.cache(lambda: exports.aside(lambda: source.exact(reference.inputs)))
    gate = ParityGate(head, data, reference, options, exact)
    provers = [_Prover(source, exports, gate, *each) for each in wanted]
    begun = first
    for prover, following in zip(provers, [*provers[1:], None], strict=True):
        progress(f"exporting {prover.engine} {prover.precision} and proving it on every runtime here")
        ready, begun = begun, begun if following is None else following.begin()
        best = prover.best(runtimes[prover.engine], ready)
        proofs += best.proofs
        if best.backbone is None:
            left_out.append(f"{prover.engine} {prover.precision}: {'; '.join(dict.fromkeys(best.reasons))}")
            continue
        if not kept:
            embedding = next(ran for proof, ran in zip(best.proofs, best.embeddings, strict=True) if not proof.refused)
            embedding = embedding[: len(reference.rows)]
        kept.append(best.backbone)
    if not kept:
        raise ModelError(f"no backbone passed: {' | '.join(left_out)}")
    return Written(tuple(kept), tuple(proofs), tuple(left_out), embedding)


def begin_first(source: Source, options: Options, exports: ExportQueue) -> Future[bytes]:
    """Start exporting the first backbone asked for. Raises ConfigError when no combination was asked for."""
    engine, precision = _wanted(source, options)[0]
    exports.save(source.forms()[0])
    return exports.begin(engine, precision, source.forms()[0])


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
class _Best:
    """backbone: None when no form passed; embeddings: float32 (m, e) beside each proof, empty where it did not run."""

    backbone: Backbone | None
    proofs: list[Proof]
    embeddings: list[Float32]
    reasons: list[str]

    @property
    def passed(self) -> int:
        return sum(not proof.refused for proof in self.proofs)


@dataclass(frozen=True, slots=True)
class _Prover:
    source: Source
    exports: ExportQueue
    gate: ParityGate
    engine: str
    precision: str

    def begin(self) -> Future[bytes]:
        """Start the export of the first form."""
        return self.exports.begin(self.engine, self.precision, self.source.forms()[0])

    def best(self, runtimes: tuple[Runtime, ...], first: Future[bytes]) -> _Best:
        """The first form every runtime here runs right; else the one that most do."""
        best = _Best(None, [], [], [])
        reasons: list[str] = []
        portables = (False, True) if self.engine == "tflite" and self.precision in ("dynamic", "int8") else (False,)
        forms = [(form, portable) for form in self.source.forms() for portable in portables]
        for attempt, (form, portable) in enumerate(forms, start=1):
            export = first if attempt == 1 else self.exports.begin(self.engine, self.precision, form, portable)
            try:
                payload = export.result()
            except ModelError as error:
                reasons.append(f"batch {form}: {error}")
                continue
            tried = self._try(payload, form, portable, attempt, runtimes)
            if tried.passed > best.passed or best.backbone is None:
                best = tried
            if tried.passed == len(runtimes):
                break
            reasons += tried.reasons
            if self.precision != "float32" and all(proof.measured for proof in tried.proofs):
                break  # it runs everywhere and is not exact enough: another form computes the same numbers
        return best if best.backbone or best.reasons else replace(best, reasons=reasons)

    def _try(self, payload: bytes, form: str, portable: bool, attempt: int, runtimes: tuple[Runtime, ...]) -> _Best:
        named = FORMS[form] + (", dense per tensor" if portable else "")
        ran = [self._prove(runtime, payload) for runtime in runtimes]
        proofs = [replace(proof, form=named, attempt=attempt) for proof, _ in ran]
        passed = [proof for proof in proofs if not proof.refused]
        backbone = self._backbone(payload, form, passed) if passed else None
        reasons = [proof.refused for proof in proofs if proof.refused]
        return _Best(backbone, proofs, [embedding for _, embedding in ran], reasons)

    def _backbone(self, payload: bytes, form: str, passed: list[Proof]) -> Backbone:
        oldest = oldest_runtimes(self.engine, payload)
        seen = {proof.runtime: oldest[proof.runtime] for proof in passed}
        member = f"backbone/{self.precision}{SUFFIX[self.engine]}"
        return Backbone(member, self.engine, self.precision, form != "one", payload, seen)

    def _prove(self, runtime: Runtime, payload: bytes) -> tuple[Proof, Float32]:
        identity = (self.engine, self.precision, runtime.name, runtime.version)
        oldest = oldest_runtimes(self.engine, payload)[runtime.name]
        try:
            run = runtime.run(payload, self.gate.reference.windows(self.precision), TIMING_S)
        except ModelError as error:
            why = "" if at_least(runtime.version, oldest) else f" (its operators need {oldest})"
            nothing = np.empty((0, 0), np.float32)
            return Proof(*identity, payload_bytes=len(payload), refused=f"{error}{why}"), nothing
        return self.gate.judge(identity, run, len(payload)), run.embedding
