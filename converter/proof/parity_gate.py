"""Decides whether an exported backbone may be written: its answers on a runtime must match the source model's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from converter.features import TrainingData
from converter.options import Options
from converter.proof.runtimes import Run
from converter.proof.scoring import agreement, score
from converter.proof.unusual import Unusual
from converter.sources import ROUNDINGS
from headway.arrays import AnyArray, Float32, Float64, Int64, describe
from headway.maths import Head, HeadKind, link

MIXED_ROWS_MAX = 200
MIXED_SHARE = 0.2  # docs/adr/0017
FINE = 10**9  # steps of a score that counts nothing
ROUNDING_MAX = 1e-4  # what differs by more is a fault, whatever the model's own rounding

Identity = tuple[str, str, str, str]  # engine, precision, runtime, its version


@dataclass(frozen=True, slots=True)
class Reference:
    """What the source model makes of the proof rows. rows: int64 (m,); inputs preprocessed; outputs after its link.

    mixed_inputs, mixed_outputs: the same of windows between them, (k, ...) and (k, C), for quantised backbones.
    unusual: windows beyond the data; None from a source that cannot take them.
    """

    rows: Int64
    inputs: Float32
    embedding: Float32
    outputs: Float32
    score: float
    mixed_inputs: Float32 | None = None
    mixed_outputs: Float32 | None = None
    unusual: Unusual | None = None

    def windows(self, precision: str) -> Float32:
        """What a backbone of that precision is run on: the proof rows, then the mixed ones, then the unusual ones."""
        parts = [self.inputs]
        if precision != "float32" and self.mixed_inputs is not None:
            parts.append(self.mixed_inputs)
        if self.unusual is not None:
            parts.append(self.unusual.inputs)
        return np.concatenate(parts) if len(parts) > 1 else self.inputs


@dataclass(frozen=True, slots=True)
class Proof:
    """One backbone on one runtime. parity: max |difference| over the features' scale; drop in points.

    agreement: share of the source model's own answers on the proof rows, mixed_agreement: on windows between them,
    None where a backbone is judged by parity.
    form: how the backbone was written down; attempt: 1 for the first form, more when others had not run or matched.
    exact_parity, source_rounding: distances of this backbone and of the source model itself from the same model in
    float64, the larger of features and outputs; measured only where the two differ by more than was allowed, else 0.
    """

    engine: str
    precision: str
    runtime: str
    version: str
    parity: float = 0.0
    probability_parity: float = 0.0
    agreement: float = 0.0
    mixed_agreement: float | None = None
    score: float = 0.0
    drop_points: float = 0.0
    latency_us: float = 0.0
    payload_bytes: int = 0
    refused: str = ""
    form: str = ""
    attempt: int = 1
    exact_parity: float = 0.0
    source_rounding: float = 0.0

    @property
    def measured(self) -> bool:
        """It ran, so there are figures, even where they are the reason to refuse it."""
        return self.latency_us > 0


@dataclass(frozen=True, slots=True)
class ParityGate:
    """The rules for one source. exact: embeddings and outputs of the proof rows in float64 (Source.exact)."""

    head: Head
    data: TrainingData
    reference: Reference
    options: Options
    exact: Callable[[], tuple[Float64, Float64] | None]

    def judge(self, identity: Identity, run: Run, payload_bytes: int) -> Proof:
        """The proof of a run on `Reference.windows`, refused or not."""
        precision, runtime = identity[1:3]
        expected = self.reference.embedding
        shape = (len(self.reference.windows(precision)), *expected.shape[1:])
        unusual = self.reference.unusual
        usual = run.embedding[: len(run.embedding) - (0 if unusual is None else len(unusual.inputs))]
        if run.embedding.shape != shape or not np.isfinite(usual).all():
            what = describe(run.embedding) if np.isfinite(usual).all() else "values that are not finite"
            return Proof(*identity, refused=f"{runtime} gives {what}, the source model {expected.dtype} {shape}")
        answers = link(self.head.logits(usual), self.head.kind)
        embedding, outputs, mixed = usual[: len(expected)], answers[: len(expected)], answers[len(expected) :]
        parity, probability_parity = distances(embedding, outputs, expected, self.reference.outputs)
        achieved = score(outputs, self.data, self.reference.rows, self.head.kind)
        drop = 100 * (self.reference.score - achieved)
        proof = Proof(
            *identity,
            parity,
            probability_parity,
            agreement=agreement(outputs, self.reference.outputs, self.data, self.head.kind),
            score=achieved,
            drop_points=drop,
            latency_us=run.latency_us,
            payload_bytes=payload_bytes,
        )
        if self.reference.mixed_outputs is not None and len(mixed):
            between = agreement(mixed, self.reference.mixed_outputs, self.data, self.head.kind)
            proof = replace(proof, mixed_agreement=between)
        judged = self._parity(proof, embedding, outputs) if precision == "float32" else self._answers(proof)
        if unusual is None or judged.refused:
            return judged
        return self._beyond(judged, unusual, run.embedding[len(usual) :])

    def _beyond(self, proof: Proof, unusual: Unusual, embedding: Float32) -> Proof:
        """On windows that the data does not hold: of the same features in float32, finite ones in all precisions."""
        if proof.precision != "float32":
            embedding = np.where(np.isfinite(embedding), unusual.embedding, embedding)
        complaint = unusual.complaint(embedding)
        if not complaint:
            return proof
        advice = "a layer behaves differently there: replace it, or cut the model elsewhere with --cut"
        return replace(proof, refused=f"{complaint} (on {proof.runtime}); {advice}")

    def _parity(self, proof: Proof, embedding: Float32, outputs: Float32) -> Proof:
        """A float32 backbone: as close to the source as was asked, or about as close to float64 as the source is."""
        limit, worst = self.options.difference_max, max(proof.parity, proof.probability_parity)
        if worst <= limit:
            return proof
        exact = self.exact() if worst < ROUNDING_MAX else None
        if exact is not None:
            exact_outputs = both_classes(exact[1], self.head)
            ours = distances(embedding, outputs, exact[0], exact_outputs)
            theirs = distances(self.reference.embedding, self.reference.outputs, exact[0], exact_outputs)
            proof = replace(proof, exact_parity=max(ours), source_rounding=max(theirs))
            if all(close_to_exact(our, their, limit) for our, their in zip(ours, theirs, strict=True)):
                return proof
        hint = f", or allow it with --max-difference {_above(worst)}" if worst < ROUNDING_MAX else ""
        told = f"; {proof.exact_parity:.1e} from float64, the source {proof.source_rounding:.1e}" if exact else ""
        refused = (
            f"differs from the source model on {proof.runtime} by {proof.parity:.1e} of the features' scale and "
            f"{proof.probability_parity:.1e} in its outputs (at most {limit:.0e}{told}); a layer behaves differently "
            f"after conversion: replace it, or cut the model elsewhere with --cut{hint}"
        )
        return replace(proof, refused=refused)

    def _counted(self, mixed: bool = False) -> int:
        """How many things a share of answers is of: windows, their labels, or a fine scale where nothing is counted."""
        if self.data.targets is not None and self.head.kind is HeadKind.LINEAR:
            return FINE
        outputs = self.reference.mixed_outputs if mixed else self.reference.outputs
        if outputs is None:
            return FINE
        return len(outputs) * (1 if self.data.targets is None else outputs.shape[1])

    def _answers(self, proof: Proof) -> Proof:
        """A quantised backbone: as often right, and not by luck: with the same answers, on windows never seen too."""
        shares = [share for share in (proof.agreement, proof.mixed_agreement) if share is not None]
        least, refused = 100 * min(shares), ""
        counted = self._counted()
        if above(proof.drop_points, self.options.drop_points_max, counted):
            refused = (
                f"loses {proof.drop_points:.2f} points on {proof.runtime} (at most {self.options.drop_points_max:g}); "
                "allow more with --max-drop"
            )
        elif any(
            above(100 - 100 * share, 100 - self.options.agreement_percent_min, count)
            for share, count in zip(shares, (counted, self._counted(mixed=True)), strict=False)
        ):
            told = " % of the windows and ".join(f"{100 * share:.2f}" for share in shares)
            refused = (
                f"gives the source model's answer on {told} % of {'mixed ones' if shares[1:] else 'the windows'} on "
                f"{proof.runtime} (at least {self.options.agreement_percent_min:g}); quantise less, or allow it with "
                f"--min-agreement {int(least)}"
            )
        return replace(proof, refused=refused)


def above(points: float, limit: float, count: int) -> bool:
    """Whether a share of `count` things, in percent, is above the limit: counted, as 100 * (0.36 - 0.355) > 0.5."""
    return Fraction(round(points * count / 100), count) > Fraction(repr(limit)) / 100


def mixed_windows(inputs: Float32) -> Float32:
    """Windows the model has not been fitted on: four fifths of each given one, a fifth of another; at most 200.

    They lie between given windows, so within the range that int8 was calibrated on. inputs: float32 (m, ...).
    """
    chosen = np.linspace(0, len(inputs) - 1, min(MIXED_ROWS_MAX, len(inputs))).astype(np.int64)
    others = np.random.default_rng(0).permutation(len(inputs))[: len(chosen)]
    share = np.float32(MIXED_SHARE)
    return np.asarray((1 - share) * inputs[chosen] + share * inputs[others], np.float32)


def close_to_exact(ours: float, theirs: float, limit: float) -> bool:
    """A backbone's distance from float64 against that of its source (converter/sources/rounding.py).

    A source too far away is not the same model: a layer came out differently in float64, and excuses nothing.
    """
    return theirs < ROUNDING_MAX and ours <= max(limit, ROUNDINGS * theirs)


def distances(
    embedding: AnyArray, outputs: AnyArray, from_embedding: AnyArray, from_outputs: AnyArray
) -> tuple[float, float]:
    """max |difference| of features over the scale of those compared with, and of outputs over theirs, at least 1."""
    scale = max(float(np.abs(from_embedding).max()), 1e-12)
    span = max(1.0, float(np.abs(from_outputs).max()))
    return float(np.abs(embedding - from_embedding).max()) / scale, float(np.abs(outputs - from_outputs).max()) / span


def both_classes(outputs: AnyArray, head: Head) -> AnyArray:
    """One sigmoid output or logit (n, 1) as the two classes (n, 2) it is kept as; all other outputs as they are."""
    if outputs.shape[1:] != (1,) or len(head.classes) != 2:
        return outputs
    first = np.zeros_like(outputs) if head.kind is HeadKind.LINEAR else 1 - outputs
    return np.concatenate([first, outputs], axis=1)


def _above(difference: float) -> str:
    """The next of 1, 2 or 5 times a power of ten, e.g. ``5e-05`` for 3.2e-5."""
    power = 10.0 ** np.floor(np.log10(difference))
    return f"{next(step * power for step in (1, 2, 5, 10) if step * power > difference):.0e}"
