"""Rules that need no network: what learning must beat to be worth anything."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from headway.arrays import AnyArray


class RunningMean:
    """The mean of all labels of the same kind so far; that of all training rows where there is none.

    known_kinds, known: kinds and labels of training rows. weight: labels of value `before` that stand for doubt.
    """

    def __init__(self, kinds: AnyArray, y: AnyArray, known_kinds: AnyArray, known: AnyArray,
                 before: float | None = None, weight: float = 0.0) -> None:  # fmt: skip
        self._kinds, self._y = kinds, y
        self._before = float(known.mean()) if before is None else before
        self._sums: dict[Any, list[float]] = defaultdict(lambda: [self._before * weight, weight])
        for kind, value in zip(known_kinds.tolist(), known.tolist(), strict=True):
            self._add(kind, value)

    def answer(self, row: int) -> float:
        total, count = self._sums[self._kinds[row].item()]
        return total / count if count else self._before

    def learn(self, row: int) -> None:
        self._add(self._kinds[row].item(), float(self._y[row]))

    def _add(self, kind: Any, value: float) -> None:
        self._sums[kind][0] += value
        self._sums[kind][1] += 1


class NearestMean:
    """The class whose mean of labelled rows is nearest; the first class until there is a label."""

    def __init__(self, x: AnyArray, y: AnyArray, classes: int, known: tuple[AnyArray, AnyArray] | None = None) -> None:
        self._x, self._y = x.reshape(len(x), -1).astype(np.float64), y
        self._sums, self._counts = np.zeros((classes, self._x.shape[1])), np.zeros(classes)
        if known is not None:
            np.add.at(self._sums, known[1], known[0].reshape(len(known[0]), -1))
            np.add.at(self._counts, known[1], 1)

    def answer(self, row: int) -> int:
        seen = self._counts > 0
        means = self._sums / np.maximum(self._counts, 1)[:, None]
        distances = np.where(seen, ((means - self._x[row]) ** 2).sum(axis=1), np.inf)
        return int(distances.argmin())

    def learn(self, row: int) -> None:
        self._sums[self._y[row]] += self._x[row]
        self._counts[self._y[row]] += 1
