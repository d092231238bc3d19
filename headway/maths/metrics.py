"""Metrics of classifications as sums, so that they merge over devices and days; never pre-averaged.

One class of sums per task: `ClassificationSums` here, `LabelSums` and `ValueSums` in target_metrics.py.
Each is made from per-sample rows, so that the newest N samples can be summed as well (recent_metrics.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, Self

import numpy as np

from headway.arrays import AnyArray, Float32, Float64, Int64
from headway.errors import LocalError, RemoteError, listed
from headway.fields import JsonValue

PROBABILITY_FLOOR = 1e-7
BINS = 15
# of windows in a table, and the largest number: sums of many devices must stay numbers
COUNT_MAX, NUMBER_MAX = 2**40, 1e100
ROW_WIDTH = 5


class Sums(Protocol):
    """What the learner, the messages and the registry need of any task's sums."""

    @property
    def samples(self) -> int:
        """Scored samples."""
        ...

    def __add__(self, other: Self) -> Self: ...

    @staticmethod
    def rows(outputs: Float32, truth: AnyArray) -> Float64:
        """What each sample adds, float64 (n, m). outputs: float32 (n, C); truth: int64 (n,) or float32 (n, C)."""
        ...

    @staticmethod
    def row_width(class_count: int) -> int:
        """m."""
        ...

    @classmethod
    def of_rows(cls, rows: Float64, class_count: int) -> Self:
        """The sums of such rows."""
        ...

    def summary(self) -> dict[str, float | int]:
        """The derived figures by name, for tables and JSON."""
        ...

    def to_json(self) -> dict[str, JsonValue]: ...


def empty_bins() -> Float64:
    """No sample in any confidence bin."""
    return np.zeros((BINS, 3))


@dataclass(frozen=True, slots=True, eq=False)
class ClassificationSums:
    """Sums over scored predictions.

    confusion: int64 (C, C), rows true class, columns predicted; log_loss_sum in nats; brier_sum: sum over samples
    of the squared distance between the probability vector and the one-hot label (Brier 1950, 0..2).
    bins: float64 (15, 3), per equal-width bin of the winner's probability its samples, hits and summed probability.
    """

    confusion: Int64
    log_loss_sum: float = 0.0
    brier_sum: float = 0.0
    bins: Float64 = field(default_factory=empty_bins)

    @classmethod
    def empty(cls, class_count: int) -> ClassificationSums:
        return cls(np.zeros((class_count, class_count), np.int64))

    @classmethod
    def of(cls, probabilities: Float32, labels: Int64) -> ClassificationSums:
        """probabilities: float32 (n, C); labels: int64 (n,) in 0..C-1."""
        return cls.of_rows(cls.rows(probabilities, labels), probabilities.shape[1])

    @staticmethod
    def rows(outputs: Float32, truth: AnyArray) -> Float64:
        """True class, predicted class, probability of the true one, squared distance, probability of the winner."""
        index = np.arange(len(truth))
        rows = np.empty((len(truth), ROW_WIDTH))
        distance = outputs.astype(np.float64)
        rows[:, 0], rows[:, 1] = truth, outputs.argmax(axis=1)
        rows[:, 2], rows[:, 4] = distance[index, truth], distance.max(axis=1)
        distance[index, truth] -= 1.0
        rows[:, 3] = (distance**2).sum(axis=1)
        return rows

    @staticmethod
    def row_width(class_count: int) -> int:
        return ROW_WIDTH

    @classmethod
    def of_rows(cls, rows: Float64, class_count: int) -> ClassificationSums:
        confusion = np.zeros((class_count, class_count), np.int64)
        truth, predicted = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
        np.add.at(confusion, (truth, predicted), 1)
        bins = empty_bins()
        place = np.clip((rows[:, 4] * BINS).astype(np.int64), 0, BINS - 1)
        np.add.at(bins, place, np.stack([np.ones(len(rows)), truth == predicted, rows[:, 4]], axis=1))
        log_loss = -np.log(np.maximum(rows[:, 2], PROBABILITY_FLOOR)).sum()
        return cls(confusion, float(log_loss), float(rows[:, 3].sum()), bins)

    def __add__(self, other: ClassificationSums) -> ClassificationSums:
        if self.confusion.shape != other.confusion.shape:
            raise LocalError(f"metrics of {len(self.confusion)} and {len(other.confusion)} classes cannot be added")
        return ClassificationSums(
            self.confusion + other.confusion,
            self.log_loss_sum + other.log_loss_sum,
            self.brier_sum + other.brier_sum,
            self.bins + other.bins,
        )

    def widened(self, class_count: int) -> ClassificationSums:
        """The same with classes nobody had met yet."""
        more = (0, class_count - len(self.confusion))
        return replace(self, confusion=np.pad(self.confusion, (more, more)))

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
        seen = self.support > 0
        return float(self.recall[seen].mean()) if seen.any() else float("nan")

    @property
    def support(self) -> Int64:
        """Samples of each class, int64 (C,)."""
        return np.asarray(self.confusion.sum(axis=1), np.int64)

    @property
    def precision(self) -> Float64:
        """Per class, float64 (C,); 0 for one that was never predicted, as scikit-learn has it."""
        return ratio(np.diagonal(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> Float64:
        """Per class, float64 (C,); 0 for one that never occurred."""
        return ratio(np.diagonal(self.confusion), self.support)

    @property
    def f1(self) -> Float64:
        """Per class, float64 (C,); 0 for one that neither occurred nor was predicted."""
        return ratio(2 * np.diagonal(self.confusion), self.confusion.sum(axis=0) + self.support)

    def macro(self, per_class: Float64) -> float:
        """Mean over the classes that occurred or were predicted."""
        seen = self.confusion.sum(axis=0) + self.support > 0
        return float(per_class[seen].mean()) if seen.any() else float("nan")

    def weighted(self, per_class: Float64) -> float:
        """Mean over the classes, weighted by how often each occurred."""
        return float(per_class @ self.support) / self.samples if self.samples else float("nan")

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occurred or were predicted."""
        return self.macro(self.f1)

    @property
    def log_loss(self) -> float:
        """Mean negative log probability of the true class, nats."""
        return self.log_loss_sum / self.samples if self.samples else float("nan")

    @property
    def brier(self) -> float:
        return self.brier_sum / self.samples if self.samples else float("nan")

    @property
    def mse(self) -> float:
        """Mean squared error of the probabilities against the one-hot label: Brier's score over C."""
        return self.brier / len(self.confusion)

    @property
    def ece(self) -> float:
        """Expected calibration error over 15 bins (Guo et al., ICML 2017): mean |confidence - accuracy|, 0..1."""
        if not self.samples:
            return float("nan")
        return float(np.abs(self.bins[:, 2] - self.bins[:, 1]).sum()) / self.samples

    def summary(self) -> dict[str, float | int]:
        return {
            "samples": self.samples,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_precision": self.macro(self.precision),
            "macro_recall": self.macro(self.recall),
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted(self.f1),
            "log_loss": self.log_loss,
            "brier": self.brier,
            "mse": self.mse,
            "ece": self.ece,
        }

    def by_class(self, classes: tuple[str, ...]) -> dict[str, dict[str, float | int]]:
        """Precision, recall, F1 and samples of each class, by name."""
        columns = (self.precision.tolist(), self.recall.tolist(), self.f1.tolist(), self.support.tolist())
        return {
            name: {"precision": precision, "recall": recall, "f1": f1, "samples": samples}
            for name, precision, recall, f1, samples in zip(classes, *columns, strict=True)
        }

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "confusion": self.confusion.tolist(),
            "log_loss_sum": self.log_loss_sum,
            "brier_sum": self.brier_sum,
            "bins": self.bins.tolist(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object], class_count: int) -> ClassificationSums:
        """Strict inverse of `to_json`. Raises RemoteError on anything else."""
        known(value, ("confusion", "log_loss_sum", "brier_sum", "bins"))
        return cls(
            counts(value, "confusion", (class_count, class_count)),
            sum_of(value, "log_loss_sum"),
            sum_of(value, "brier_sum"),
            numbers(value, "bins", (BINS, 3), low=0.0),
        )


def ratio(part: AnyArray, whole: AnyArray) -> Float64:
    """part / whole, 0 where the whole is 0. (C,) -> float64 (C,)."""
    result: Float64 = np.divide(part, whole, out=np.zeros(len(part)), where=np.asarray(whole) > 0)
    return result


def known(value: Mapping[str, object], keys: tuple[str, ...]) -> None:
    """Raises RemoteError unless the table has exactly these keys."""
    if set(value) != set(keys):
        raise RemoteError(f"metrics hold {listed(value)}; expected {listed(keys)}")


def sum_of(value: Mapping[str, object], key: str) -> float:
    """A sum that is not negative. Raises RemoteError."""
    given = value[key]
    if not isinstance(given, (int, float)) or isinstance(given, bool) or not 0 <= given <= NUMBER_MAX:
        raise RemoteError(f"metrics {key} must be a number from 0 to {NUMBER_MAX:g}, got {str(given)[:40]}")
    return float(given)


def counts(value: Mapping[str, object], key: str, shape: tuple[int, ...]) -> Int64:
    """A table of whole numbers, not negative, together at most `COUNT_MAX`. Raises RemoteError."""
    table = _table(value, key)
    if table.shape != shape or table.dtype.kind != "i" or (table < 0).any():
        raise RemoteError(f"metrics {key} must be {' x '.join(map(str, shape))} counts")
    if (total := table.sum(dtype=np.float64)) > COUNT_MAX:
        raise RemoteError(f"metrics {key} count {total:g} windows, at most {COUNT_MAX}")
    return table.astype(np.int64)


def numbers(value: Mapping[str, object], key: str, shape: tuple[int, ...], low: float = -np.inf) -> Float64:
    """A table of numbers of magnitude at most `NUMBER_MAX`. Raises RemoteError."""
    table = _table(value, key)
    if table.shape != shape or table.dtype.kind not in "if" or not (np.abs(table) <= NUMBER_MAX).all():
        raise RemoteError(f"metrics {key} must be {' x '.join(map(str, shape))} finite numbers, at most {NUMBER_MAX:g}")
    if (table < low).any():
        raise RemoteError(f"metrics {key} must be {' x '.join(map(str, shape))} finite numbers, none below {low:g}")
    return table.astype(np.float64)


def _table(value: Mapping[str, object], key: str) -> AnyArray:
    try:
        return np.array(value[key])
    except (ValueError, OverflowError) as error:
        raise RemoteError(f"metrics {key} is not a matrix: {error}") from error
