"""Classification metrics as sums, so that they merge over devices and days; never pre-averaged."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from headway.arrays import Float32, Int64
from headway.errors import LocalError, RemoteError

PROBABILITY_FLOOR = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationSums:
    """Sums over scored predictions.

    confusion: int64 (C, C), rows true class, columns predicted; log_loss_sum in nats; brier_sum: sum over samples
    of the squared distance between the probability vector and the one-hot label (Brier 1950, 0..2).
    """

    confusion: Int64
    log_loss_sum: float = 0.0
    brier_sum: float = 0.0

    @classmethod
    def empty(cls, class_count: int) -> ClassificationSums:
        return cls(np.zeros((class_count, class_count), np.int64))

    @classmethod
    def of(cls, probabilities: Float32, labels: Int64) -> ClassificationSums:
        """probabilities: float32 (n, C); labels: int64 (n,) in 0..C-1."""
        class_count = probabilities.shape[1]
        confusion = np.zeros((class_count, class_count), np.int64)
        np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
        rows = np.arange(len(labels))
        given = np.maximum(probabilities[rows, labels].astype(np.float64), PROBABILITY_FLOOR)
        distance = probabilities.astype(np.float64)
        distance[rows, labels] -= 1.0
        return cls(confusion, float(-np.log(given).sum()), float((distance**2).sum()))

    def __add__(self, other: ClassificationSums) -> ClassificationSums:
        if self.confusion.shape != other.confusion.shape:
            raise LocalError(f"metrics of {len(self.confusion)} and {len(other.confusion)} classes cannot be added")
        return ClassificationSums(
            self.confusion + other.confusion,
            self.log_loss_sum + other.log_loss_sum,
            self.brier_sum + other.brier_sum,
        )

    @property
    def samples(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of correct predictions; NaN before the first sample."""
        return float(np.trace(self.confusion)) / self.samples if self.samples else float("nan")

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that occurred."""
        support = self.confusion.sum(axis=1)
        seen = support > 0
        return float((np.diagonal(self.confusion)[seen] / support[seen]).mean()) if seen.any() else float("nan")

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occurred or were predicted."""
        true_positive = np.diagonal(self.confusion)
        total = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        seen = total > 0
        return float((2 * true_positive[seen] / total[seen]).mean()) if seen.any() else float("nan")

    @property
    def log_loss(self) -> float:
        """Mean negative log probability of the true class, nats."""
        return self.log_loss_sum / self.samples if self.samples else float("nan")

    @property
    def brier(self) -> float:
        return self.brier_sum / self.samples if self.samples else float("nan")

    def summary(self) -> dict[str, float | int]:
        """The derived figures by name, for tables and JSON."""
        return {
            "samples": self.samples,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "log_loss": self.log_loss,
            "brier": self.brier,
        }

    def to_json(self) -> dict[str, object]:
        return {
            "confusion": self.confusion.tolist(),
            "log_loss_sum": self.log_loss_sum,
            "brier_sum": self.brier_sum,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object], class_count: int) -> ClassificationSums:
        """Strict inverse of `to_json`. Raises RemoteError on anything else."""
        confusion, log_loss, brier = (value.get(k) for k in ("confusion", "log_loss_sum", "brier_sum"))
        sums_valid = all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v <= sys.float_info.max
            for v in (log_loss, brier)
        )
        try:
            table = np.array(confusion)
        except (ValueError, OverflowError) as error:
            raise RemoteError(f"metrics confusion is not a matrix: {error}") from error
        if table.shape != (class_count, class_count) or table.dtype.kind != "i" or (table < 0).any():
            raise RemoteError(f"metrics confusion must be {class_count} x {class_count} counts")
        if not sums_valid or set(value) != {"confusion", "log_loss_sum", "brier_sum"}:
            raise RemoteError(f"metrics sums must be finite and not negative, got {log_loss!r} and {brier!r}")
        return cls(table.astype(np.int64), float(str(log_loss)), float(str(brier)))
