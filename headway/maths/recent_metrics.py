"""Metrics over the newest N samples, and over the phases of a learner's life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from headway.arrays import AnyArray, Float32, Float64
from headway.errors import LocalError, StoreError
from headway.maths.metrics import Sums

SumsType = TypeVar("SumsType", bound=Sums)


class Recent(Generic[SumsType]):
    """The newest `rows_max` scored samples, as rows of `kind`."""

    def __init__(self, kind: type[SumsType], rows_max: int) -> None:
        self._kind, self._rows_max = kind, rows_max
        self._rows: Float64 = np.zeros((0, 0))  # width unknown until the first sample

    def add(self, outputs: Float32, truth: AnyArray) -> None:
        """outputs: float32 (n, C); truth: int64 (n,) or float32 (n, C)."""
        rows = self._kind.rows(outputs, truth)
        kept = self._rows if self._rows.shape[1] == rows.shape[1] else rows[:0]
        self._rows = np.concatenate([kept, rows])[-self._rows_max :]

    def sums(self, class_count: int) -> SumsType:
        """Over the rows that are held."""
        rows = self._rows.reshape(-1, self._kind.row_width(class_count))
        return self._kind.of_rows(rows, class_count)

    def state(self) -> dict[str, AnyArray]:
        return {"rows": self._rows}

    def restore(self, tensors: Mapping[str, AnyArray]) -> None:
        """Inverse of `state`. Raises StoreError."""
        rows = tensors["rows"]
        if rows.dtype != np.float64 or rows.ndim != 2:
            raise StoreError("saved recent scores are damaged")
        self._rows = rows[-self._rows_max :].copy()


def forgetting(accuracy: Float64) -> float:
    """Mean drop from each earlier phase's best accuracy to its last, 0..1 (Chaudhry et al., ECCV 2018).

    accuracy: float64 (T, T), [i, j] on phase j's test data after learning phase i.
    """
    phases = _phases(accuracy)
    if phases < 2:
        return 0.0
    return float((accuracy[:-1, :-1].max(axis=0) - accuracy[-1, :-1]).mean())


def backward_transfer(accuracy: Float64) -> float:
    """Mean change of each earlier phase's accuracy since it was learned; negative is forgetting (GEM, NIPS 2017).

    accuracy: float64 (T, T) as in `forgetting`.
    """
    phases = _phases(accuracy)
    if phases < 2:
        return 0.0
    return float((accuracy[-1, :-1] - np.diagonal(accuracy)[:-1]).mean())


def _phases(accuracy: Float64) -> int:
    if accuracy.ndim != 2 or accuracy.shape[0] != accuracy.shape[1] or not len(accuracy):
        raise LocalError(f"accuracies must be (T, T), one row per phase learned, got {accuracy.shape}")
    return len(accuracy)
