"""How sure the contenders are, beside how often they are right: the expected calibration error of what they answer.

ECE over 15 bins of equal width of the probability of the answer: the mean over rows of |confidence - accuracy| of their
bin (Guo et al., ICML 2017). Of a device's ten rows it would be noise, so the rows of all devices of a seed are pooled.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np

from benchmarks.peers import Contender
from edge_agent.pipeline import Features
from headway.arrays import Float32, Int64
from headway.maths import ClassificationSums

ECE = "ECE"


@runtime_checkable
class Probabilistic(Protocol):
    """A contender that can say how sure it is."""

    def probabilities(self, features: Features) -> Float32:
        """float32 (n, C); the answer is the most probable class."""
        ...


def answers(contender: Contender, features: Features, y: Int64, kept: list[ClassificationSums]) -> Int64:
    """Classes int64 (n,). How sure of them the contender was is added to `kept`, where it says so."""
    if not isinstance(contender, Probabilistic):
        return contender.predict(features)
    given = contender.probabilities(features)
    # a frozen head has no column for a class that was added
    width = max(given.shape[1], int(y.max()) + 1)
    kept.append(ClassificationSums.of(np.pad(given, ((0, 0), (0, width - given.shape[1]))), y))
    return np.asarray(given.argmax(axis=1), np.int64)


def pooled_ece(kept: Iterable[ClassificationSums]) -> float:
    """Of all rows together, 0..1."""
    bins = np.sum([sums.bins for sums in kept], axis=0)
    return float(np.abs(bins[:, 2] - bins[:, 1]).sum() / bins[:, 0].sum())
