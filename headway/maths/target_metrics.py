"""Metrics of multi-label models and regressions as sums that merge. Unknown targets (NaN) do not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headway.arrays import AnyArray, Float32, Float64, Int64
from headway.errors import LocalError
from headway.fields import JsonValue
from headway.maths.metrics import (
    PROBABILITY_FLOOR,
    ClassificationSums,
    counts,
    known,
    numbers,
    ratio,
    sum_of,
)
from headway.maths.task import LABEL_THRESHOLD, Task


@dataclass(frozen=True, slots=True, eq=False)
class LabelSums:
    """Sums over windows with any number of labels each.

    outcomes: int64 (C, 4), per label true positives, false positives, false negatives, true negatives;
    windows: scored ones; exact: windows with every known label right; log_loss_sum (nats) and brier_sum are over
    known labels.
    """

    outcomes: Int64
    windows: int = 0
    exact: int = 0
    log_loss_sum: float = 0.0
    brier_sum: float = 0.0

    @classmethod
    def empty(cls, class_count: int) -> LabelSums:
        return cls(np.zeros((class_count, 4), np.int64))

    @classmethod
    def of(cls, probabilities: Float32, targets: Float32) -> LabelSums:
        """probabilities: float32 (n, C); targets: float32 (n, C), 0, 1 or NaN."""
        return cls.of_rows(cls.rows(probabilities, targets), probabilities.shape[1])

    @staticmethod
    def rows(outputs: Float32, truth: AnyArray) -> Float64:
        return np.concatenate([outputs, truth], axis=1).astype(np.float64)

    @staticmethod
    def row_width(class_count: int) -> int:
        return 2 * class_count

    @classmethod
    def of_rows(cls, rows: Float64, class_count: int) -> LabelSums:
        given, targets = rows[:, :class_count], rows[:, class_count:]
        is_known, is_true, said = ~np.isnan(targets), targets > LABEL_THRESHOLD, given >= LABEL_THRESHOLD
        outcomes = [(is_known & (is_true == t) & (said == s)).sum(axis=0) for t, s in TRUE_SAID]
        right = np.where(is_true, given, 1.0 - given)[is_known]
        return cls(
            np.stack(outcomes, axis=1).astype(np.int64),
            int(is_known.any(axis=1).sum()),
            int((is_known.any(axis=1) & (~is_known | (is_true == said)).all(axis=1)).sum()),
            float(-np.log(np.maximum(right, PROBABILITY_FLOOR)).sum()),
            float(((1.0 - right) ** 2).sum()),
        )

    def __add__(self, other: LabelSums) -> LabelSums:
        if self.outcomes.shape != other.outcomes.shape:
            raise LocalError(f"metrics of {len(self.outcomes)} and {len(other.outcomes)} labels cannot be added")
        return LabelSums(
            self.outcomes + other.outcomes,
            self.windows + other.windows,
            self.exact + other.exact,
            self.log_loss_sum + other.log_loss_sum,
            self.brier_sum + other.brier_sum,
        )

    @property
    def samples(self) -> int:
        return self.windows

    @property
    def label_accuracy(self) -> float:
        """Share of known labels that were right (one minus the Hamming loss)."""
        return self._mean(float(self.outcomes[:, 0].sum() + self.outcomes[:, 3].sum()))

    @property
    def subset_accuracy(self) -> float:
        """Share of windows with every known label right."""
        return self.exact / self.windows if self.windows else float("nan")

    @property
    def precision(self) -> Float64:
        """Per label, float64 (C,); 0 for one that was never said."""
        return ratio(self.outcomes[:, 0], self.outcomes[:, 0] + self.outcomes[:, 1])

    @property
    def recall(self) -> Float64:
        """Per label, float64 (C,); 0 for one that never occurred."""
        return ratio(self.outcomes[:, 0], self.outcomes[:, 0] + self.outcomes[:, 2])

    @property
    def f1(self) -> Float64:
        """Per label, float64 (C,); 0 for one that neither occurred nor was said."""
        return ratio(2 * self.outcomes[:, 0], 2 * self.outcomes[:, 0] + self.outcomes[:, 1] + self.outcomes[:, 2])

    @property
    def micro_f1(self) -> float:
        """F1 of all labels taken together."""
        true_positive, false_positive, false_negative, _ = self.outcomes.sum(axis=0).tolist()
        total = 2 * true_positive + false_positive + false_negative
        return float(2 * true_positive / total) if total else float("nan")

    def summary(self) -> dict[str, float | int]:
        empty = not self.windows
        return {
            "samples": self.windows,
            "subset_accuracy": self.subset_accuracy,
            "label_accuracy": self.label_accuracy,
            "macro_precision": float("nan") if empty else float(self.precision.mean()),
            "macro_recall": float("nan") if empty else float(self.recall.mean()),
            "macro_f1": float("nan") if empty else float(self.f1.mean()),
            "micro_f1": self.micro_f1,
            "log_loss": self._mean(self.log_loss_sum),
            "mse": self._mean(self.brier_sum),
        }

    def by_class(self, classes: tuple[str, ...]) -> dict[str, dict[str, float | int]]:
        """Precision, recall, F1 and positive samples of each label, by name."""
        support = (self.outcomes[:, 0] + self.outcomes[:, 2]).tolist()
        columns = (self.precision.tolist(), self.recall.tolist(), self.f1.tolist(), support)
        return {
            name: {"precision": precision, "recall": recall, "f1": f1, "samples": samples}
            for name, precision, recall, f1, samples in zip(classes, *columns, strict=True)
        }

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "outcomes": self.outcomes.tolist(),
            "windows": self.windows,
            "exact": self.exact,
            "log_loss_sum": self.log_loss_sum,
            "brier_sum": self.brier_sum,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object], class_count: int) -> LabelSums:
        """Strict inverse of `to_json`. Raises RemoteError on anything else."""
        known(value, ("outcomes", "windows", "exact", "log_loss_sum", "brier_sum"))
        return cls(
            counts(value, "outcomes", (class_count, 4)),
            int(counts(value, "windows", ())),
            int(counts(value, "exact", ())),
            sum_of(value, "log_loss_sum"),
            sum_of(value, "brier_sum"),
        )

    def _mean(self, total: float) -> float:
        labels = int(self.outcomes.sum())
        return total / labels if labels else float("nan")


TRUE_SAID = ((True, True), (False, True), (True, False), (False, False))


@dataclass(frozen=True, slots=True, eq=False)
class ValueSums:
    """Sums over regression outputs, each float64 (C,) except `windows`.

    known: targets that were given; absolute, squared: sums of |error| and error^2; mean, spread: of the targets, the
    spread as the sum of squared distances from the mean, merged without cancellation (Chan, Golub, LeVeque 1983).
    """

    known: Float64
    absolute: Float64
    squared: Float64
    mean: Float64
    spread: Float64
    windows: int = 0

    @classmethod
    def empty(cls, class_count: int) -> ValueSums:
        zeros = np.zeros(class_count)
        return cls(zeros, zeros, zeros, zeros, zeros)

    @classmethod
    def of(cls, outputs: Float32, targets: Float32) -> ValueSums:
        """outputs, targets: float32 (n, C), a target NaN where it is unknown."""
        return cls.of_rows(cls.rows(outputs, targets), outputs.shape[1])

    @staticmethod
    def rows(outputs: Float32, truth: AnyArray) -> Float64:
        return np.concatenate([outputs, truth], axis=1).astype(np.float64)

    @staticmethod
    def row_width(class_count: int) -> int:
        return 2 * class_count

    @classmethod
    def of_rows(cls, rows: Float64, class_count: int) -> ValueSums:
        targets = rows[:, class_count:]
        is_known = ~np.isnan(targets)
        error = np.where(is_known, rows[:, :class_count] - targets, 0.0)
        count = is_known.sum(axis=0).astype(np.float64)
        mean = ratio(np.where(is_known, targets, 0.0).sum(axis=0), count)
        spread = (np.where(is_known, targets - mean, 0.0) ** 2).sum(axis=0)
        windows = int(is_known.any(axis=1).sum())
        return cls(count, np.abs(error).sum(axis=0), (error**2).sum(axis=0), mean, spread, windows)

    def __add__(self, other: ValueSums) -> ValueSums:
        if self.known.shape != other.known.shape:
            raise LocalError(f"metrics of {len(self.known)} and {len(other.known)} outputs cannot be added")
        count = self.known + other.known
        apart = other.mean - self.mean
        share = ratio(other.known, count)
        return ValueSums(
            count,
            self.absolute + other.absolute,
            self.squared + other.squared,
            self.mean + apart * share,
            self.spread + other.spread + apart**2 * self.known * share,
            self.windows + other.windows,
        )

    @property
    def samples(self) -> int:
        return self.windows

    @property
    def mse(self) -> float:
        """Mean squared error, averaged over the outputs."""
        return self._mean(self.squared / np.maximum(self.known, 1.0))

    @property
    def mae(self) -> float:
        """Mean absolute error, averaged over the outputs."""
        return self._mean(self.absolute / np.maximum(self.known, 1.0))

    @property
    def r2(self) -> float:
        """Share of the targets' variance explained, averaged over the outputs whose targets vary."""
        varies = self.spread > 0
        if not varies.any():
            return float("nan")
        with np.errstate(over="ignore"):  # a spread may be next to nothing
            return float((1.0 - self.squared[varies] / self.spread[varies]).mean())

    def summary(self) -> dict[str, float | int]:
        return {"samples": self.windows, "mse": self.mse, "rmse": self.mse**0.5, "mae": self.mae, "r2": self.r2}

    def by_class(self, classes: tuple[str, ...]) -> dict[str, dict[str, float | int]]:
        """Errors of each output, by name."""
        return {
            name: {
                "mse": float(self.squared[i] / max(self.known[i], 1.0)),
                "mae": float(self.absolute[i] / max(self.known[i], 1.0)),
                "samples": int(self.known[i]),
            }
            for i, name in enumerate(classes)
        }

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "windows": self.windows,
            "known": [int(count) for count in self.known],
            "absolute": self.absolute.tolist(),
            "squared": self.squared.tolist(),
            "mean": self.mean.tolist(),
            "spread": self.spread.tolist(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object], class_count: int) -> ValueSums:
        """Strict inverse of `to_json`. Raises RemoteError on anything else."""
        known(value, ("known", "absolute", "squared", "mean", "spread", "windows"))
        shape = (class_count,)
        return cls(
            counts(value, "known", shape).astype(np.float64),
            numbers(value, "absolute", shape, low=0.0),
            numbers(value, "squared", shape, low=0.0),
            numbers(value, "mean", shape),
            numbers(value, "spread", shape, low=0.0),
            int(counts(value, "windows", ())),
        )

    def _mean(self, per_output: Float64) -> float:
        seen = self.known > 0
        return float(per_output[seen].mean()) if seen.any() else float("nan")


AnySums = ClassificationSums | LabelSums | ValueSums
SUMS: Mapping[Task, type[ClassificationSums] | type[LabelSums] | type[ValueSums]] = {
    Task.CLASSIFICATION: ClassificationSums,
    Task.MULTI_LABEL: LabelSums,
    Task.REGRESSION: ValueSums,
}


def sums_from_json(value: Mapping[str, object], class_count: int) -> AnySums:
    """Sums of whichever task: each has a table of its own. Raises RemoteError."""
    if "outcomes" in value:
        return LabelSums.from_json(value, class_count)
    if "spread" in value:
        return ValueSums.from_json(value, class_count)
    return ClassificationSums.from_json(value, class_count)


def class_count_in(value: Mapping[str, object]) -> int:
    """How many classes or outputs a table of sums claims to have; 0 where it has no such list. Not yet validated."""
    for name in ("confusion", "outcomes", "known"):
        rows = value.get(name)
        if isinstance(rows, list):
            return len(rows)
    return 0
