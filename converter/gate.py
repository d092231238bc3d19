"""What a backbone must show on a runtime before it is written: the same answers, or nearly, as the source model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from converter.options import Options
from converter.rounding import ROUNDINGS
from converter.runtimes import Run
from converter.scoring import agreement, score
from converter.training_data import TrainingData
from headway.arrays import Float32, Int64, describe
from headway.head import Head, link

ROUNDING_MAX = 1e-4  # what differs by more is a fault, whatever the model's own rounding

Identity = tuple[str, str, str, str]  # engine, precision, runtime, its version


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
class Gate:
    """The rules for one source. rounding: asks how far the source's own float32 is from float64 (Source.rounding)."""

    head: Head
    data: TrainingData
    reference: Reference
    options: Options
    rounding: Callable[[], float]

    def judge(self, identity: Identity, run: Run, payload_bytes: int) -> Proof:
        """The proof of a run on all proof rows, refused or not."""
        precision, runtime = identity[1:3]
        expected = self.reference.embedding
        if run.embedding.shape != expected.shape or not np.isfinite(run.embedding).all():
            what = describe(run.embedding) if np.isfinite(run.embedding).all() else "values that are not finite"
            return Proof(*identity, refused=f"{runtime} gives {what}, the source model {describe(expected)}")
        scale = max(float(np.abs(expected).max()), 1e-12)
        parity = float(np.abs(run.embedding - expected).max()) / scale
        outputs = link(self.head.logits(run.embedding), self.head.kind)
        span = max(1.0, float(np.abs(self.reference.outputs).max()))
        probability_parity = float(np.abs(outputs - self.reference.outputs).max()) / span
        achieved = score(outputs, self.data, self.reference.rows, self.head.kind)
        drop = 100 * (self.reference.score - achieved)
        agreed = agreement(outputs, self.reference.outputs, self.data, self.head.kind)
        rounding = 0.0
        if precision == "float32" and self.options.difference_max < max(parity, probability_parity) < ROUNDING_MAX:
            rounding = self.rounding()
        proof = Proof(
            *identity, parity, probability_parity, agreed, achieved, drop, run.latency_us, payload_bytes,
            rounding=rounding,
        )  # fmt: skip
        return replace(proof, refused=self._parity(proof) if precision == "float32" else self._answers(proof))

    def _parity(self, proof: Proof) -> str:
        """Why a float32 backbone is refused, or ''."""
        worst = max(proof.parity, proof.probability_parity)
        allowed = max(self.options.difference_max, ROUNDINGS * proof.rounding)
        if worst <= allowed:
            return ""
        hint = f", or allow it with --max-difference {_above(worst)}" if worst < ROUNDING_MAX else ""
        return (
            f"differs from the source model on {proof.runtime} by {proof.parity:.1e} of the features' scale and "
            f"{proof.probability_parity:.1e} in its outputs (at most {allowed:.0e}); a layer behaves differently after "
            f"conversion: replace it, or cut the model elsewhere with --cut{hint}"
        )

    def _answers(self, proof: Proof) -> str:
        """Why a quantised backbone is refused, or ''. As many right answers do not mean the same ones."""
        if proof.drop_points > self.options.drop_points_max:
            return (
                f"loses {proof.drop_points:.2f} points on {proof.runtime} (at most {self.options.drop_points_max:g}); "
                "allow more with --max-drop"
            )
        agreed = 100 * proof.agreement
        if agreed < self.options.agreement_percent_min:
            return (
                f"agrees with the source model on {agreed:.2f} % of the answers on {proof.runtime} (at least "
                f"{self.options.agreement_percent_min:g}); quantise less, or allow it with --min-agreement "
                f"{int(agreed)}"
            )
        return ""


def _above(difference: float) -> str:
    """The next of 1, 2 or 5 times a power of ten, e.g. ``5e-05`` for 3.2e-5."""
    power = 10.0 ** np.floor(np.log10(difference))
    return f"{next(step * power for step in (1, 2, 5, 10) if step * power > difference):.0e}"
