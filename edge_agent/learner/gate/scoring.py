"""Scores predictions once their label is known: the losses that the gate compares, for each task.

All lie between 0 and 2 per window, so that one margin suits every model, and one bad miss cannot outweigh a run of
good answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from edge_agent.learner.gate.frozen_score import REFIT_LABELS, Calibration, FrozenScore
from edge_agent.learner.gate.gate import FROZEN
from headway.arrays import AnyArray, Float32, Float64
from headway.errors import StoreError
from headway.fields import Fields, JsonValue
from headway.maths import (
    LABEL_THRESHOLD,
    TEMPERATURES,
    AnySums,
    ClassificationSums,
    HeadKind,
    LabelSums,
    Task,
    ValueSums,
    link,
    scoring_loss,
)

# of a value, in units of the frozen head's mean error
ERROR_UNITS_MAX = 2.0
SURPRISE_MAX = 4.0
TEMPERATURE_ROWS_MIN = 16


class Scorer(Protocol):
    """Losses on one labelled window."""

    @property
    def calibration(self) -> Calibration:
        """How sure the frozen head may be where it serves."""
        ...

    def losses(
        self, outputs: Mapping[str, Float32], frozen_logits: Float32, truth: AnyArray
    ) -> tuple[dict[str, float], Float64 | None]:
        """The loss of every candidate; and all newest losses of the frozen head, when its calibration has moved.

        outputs: by candidate, float32 (1, C); frozen_logits: float32 (1, C0), C0 the bundle's classes;
        truth: int64 (1,), or float32 (1, C) with NaN for unknown.
        """
        ...

    def forget(self, ago: int) -> None:
        """Drop what is kept of the window after which `ago` others came: its label was wrong."""
        ...

    def error(self, outputs: Float32, truth: AnyArray) -> float:
        """How wrong one window's outputs were, 0 to 1; shapes as in `losses`."""
        ...

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]: ...

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        """Inverse of `state`. Raises StoreError."""
        ...


def build_scorer(task: Task, class_count: int, rows_max: int) -> Scorer:
    """rows_max: how many of the frozen head's answers its calibration looks back on."""
    if task is Task.CLASSIFICATION:
        return ClassScorer(class_count, rows_max)
    return LabelScorer(class_count, rows_max) if task is Task.MULTI_LABEL else ValueScorer(class_count)


class ClassScorer:
    """`headway.maths.calibration.scoring_loss`, the frozen head at its best temperature."""

    def __init__(self, class_count: int, rows_max: int) -> None:
        self._frozen = FrozenScore(class_count, rows_max)

    @property
    def calibration(self) -> Calibration:
        return self._frozen.calibration

    def losses(
        self, outputs: Mapping[str, Float32], frozen_logits: Float32, truth: AnyArray
    ) -> tuple[dict[str, float], Float64 | None]:
        losses = {name: float(scoring_loss(p.astype(np.float64), truth)[0]) for name, p in outputs.items()}
        moved = self._frozen.add(frozen_logits, int(truth[0]))
        losses[FROZEN] = float(self._frozen.losses(frozen_logits.astype(np.float64), truth)[0])
        return losses, moved

    def calibrated(self, frozen_logits: Float32) -> Float64:
        """Log-probabilities of the frozen head, calibrated on this device. float32 (n, C0) -> float64 (n, C0)."""
        return self._frozen.calibrated(frozen_logits)

    def forget(self, ago: int) -> None:
        self._frozen.forget(ago)

    def error(self, outputs: Float32, truth: AnyArray) -> float:
        return float(int(outputs[0].argmax()) != int(truth[0]))

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        return self._frozen.state()

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        self._frozen.restore(tensors, values)


class LabelScorer:
    """Mean over the known labels of: 1 for a wrong one, plus a bounded share of its log-loss.

    As in `ClassScorer` the frozen head is calibrated first: being overconfident must not count as being wrong.
    """

    def __init__(self, class_count: int, rows_max: int) -> None:
        self._rows_max = rows_max
        self._logits: Float64 = np.zeros((0, class_count))
        self._truth: Float64 = np.zeros((0, class_count))
        self._seen, self._temperature = 0, 1.0

    @property
    def calibration(self) -> Calibration:
        return Calibration(self._temperature)

    def losses(
        self, outputs: Mapping[str, Float32], frozen_logits: Float32, truth: AnyArray
    ) -> tuple[dict[str, float], Float64 | None]:
        self._logits = np.concatenate([self._logits, frozen_logits.astype(np.float64)])[-self._rows_max :]
        self._truth = np.concatenate([self._truth, truth.astype(np.float64)])[-self._rows_max :]
        self._seen += 1
        losses = {name: float(label_losses(p.astype(np.float64), truth)[0]) for name, p in outputs.items()}
        refit = self._seen <= self._rows_max or self._seen % REFIT_LABELS == 0
        if refit and len(self._logits) >= TEMPERATURE_ROWS_MIN:
            self._temperature = self._best_temperature()
        frozen = label_losses(_sigmoid(self._logits / self._temperature), self._truth)
        losses[FROZEN] = float(frozen[-1])
        return losses, frozen if refit else None

    def forget(self, ago: int) -> None:
        kept = np.arange(len(self._logits)) != len(self._logits) - 1 - ago
        self._logits, self._truth = self._logits[kept], self._truth[kept]

    def error(self, outputs: Float32, truth: AnyArray) -> float:
        known = ~np.isnan(truth[0])
        wrong = (outputs[0] >= LABEL_THRESHOLD) != (truth[0] > LABEL_THRESHOLD)
        return float(wrong[known].mean()) if known.any() else 0.0

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        return {"logits": self._logits, "truth": self._truth}, {"temperature": self._temperature, "seen": self._seen}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        logits, truth = tensors["logits"], tensors["truth"]
        if logits.shape != truth.shape or logits.shape[1:] != self._logits.shape[1:] or logits.dtype != np.float64:
            raise StoreError("saved logits of the frozen head are damaged")
        self._logits, self._truth = logits, truth.astype(np.float64)
        self._temperature, self._seen = values.number("temperature", low=0.0), values.integer("seen")
        values.finish()

    def _best_temperature(self) -> float:
        """The one of a fixed grid with the smallest log-loss on the kept windows."""
        known = ~np.isnan(self._truth)
        signed = np.where(self._truth > LABEL_THRESHOLD, self._logits, -self._logits)[known]
        surprises = [np.logaddexp(0.0, -signed / t).sum() for t in TEMPERATURES]
        return float(TEMPERATURES[int(np.argmin(surprises))])


class ValueScorer:
    """Mean over the known outputs of |error| in units of the frozen head's mean |error| on this device, at most 2.

    So the frozen head scores about 1, and half of its error is a lead of 0.5 per window, whatever the outputs' units.
    """

    def __init__(self, class_count: int) -> None:
        self._known: Float64 = np.zeros(class_count)
        self._absolute: Float64 = np.zeros(class_count)

    def forget(self, ago: int) -> None:
        """The frozen head's error does not depend on labels alone; no row of it is kept."""

    @property
    def calibration(self) -> Calibration:
        return Calibration()

    def error(self, outputs: Float32, truth: AnyArray) -> float:
        known = ~np.isnan(truth[0])
        absolute = np.abs(outputs[0].astype(np.float64) - truth[0])[known]
        return float(self._in_units(absolute, known).mean() / ERROR_UNITS_MAX) if known.any() else 0.0

    def losses(
        self, outputs: Mapping[str, Float32], frozen_logits: Float32, truth: AnyArray
    ) -> tuple[dict[str, float], Float64 | None]:
        known = ~np.isnan(truth[0])
        errors = {name: np.abs(values[0].astype(np.float64) - truth[0])[known] for name, values in outputs.items()}
        self._known += known
        self._absolute[known] += errors[FROZEN]
        return {name: float(self._in_units(error, known).mean()) for name, error in errors.items()}, None

    def _in_units(self, absolute: Float64, known: AnyArray) -> Float64:
        unit = np.maximum(self._absolute[known] / np.maximum(self._known[known], 1.0), np.finfo(np.float32).tiny)
        return np.minimum(absolute / unit, ERROR_UNITS_MAX)

    def state(self) -> tuple[dict[str, AnyArray], dict[str, JsonValue]]:
        return {"known": self._known, "absolute": self._absolute}, {}

    def restore(self, tensors: Mapping[str, AnyArray], values: Fields) -> None:
        known, absolute = tensors["known"], tensors["absolute"]
        if known.shape != self._known.shape or absolute.shape != known.shape or not np.isfinite(absolute).all():
            raise StoreError("saved errors of the frozen head are damaged")
        self._known, self._absolute = known.astype(np.float64), absolute.astype(np.float64)
        values.finish()


def label_losses(probabilities: Float64, truth: AnyArray) -> Float64:
    """Mean over known labels of error + min(-ln p, 4) / 4. (n, C), truth 0, 1 or NaN -> float64 (n,)."""
    known, true = ~np.isnan(truth), truth > LABEL_THRESHOLD
    right = np.where(true, probabilities, 1.0 - probabilities)
    wrong = (probabilities >= LABEL_THRESHOLD) != true
    losses = wrong + np.minimum(-np.log(np.maximum(right, 1e-12)), SURPRISE_MAX) / SURPRISE_MAX
    total: Float64 = np.where(known, losses, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return total


def window_losses(task: Task, outputs: Float32, truth: AnyArray, units: Float64) -> Float64:
    """Losses of one task as the gate has them, without calibration. outputs: float32 (n, C); truth: int64 (n,), or
    float32 (n, C) with NaN for unknown; units: of a regression's errors, float64 (C,) -> float64 (n,), 0 to 2."""
    if task is Task.CLASSIFICATION:
        return scoring_loss(outputs.astype(np.float64), truth)
    if task is Task.MULTI_LABEL:
        return label_losses(outputs.astype(np.float64), truth)
    known = ~np.isnan(truth)
    errors = np.where(known, np.minimum(np.abs(outputs.astype(np.float64) - truth) / units, ERROR_UNITS_MAX), 0.0)
    total: Float64 = errors.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return total


def added(sums: AnySums, outputs: Float32, truth: AnyArray) -> AnySums:
    """The sums with one more window. Each task adds to its own kind."""
    if isinstance(sums, ClassificationSums):
        return sums + ClassificationSums.of(outputs, truth)
    if isinstance(sums, LabelSums):
        return sums + LabelSums.of(outputs, truth)
    return sums + ValueSums.of(outputs, truth)


def _sigmoid(logits: Float64) -> Float64:
    return link(logits.astype(np.float32), HeadKind.SIGMOID).astype(np.float64)
