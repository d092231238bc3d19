"""How often a head is right on the bundle's own sample of its training data, which every version is scored on alike.

The sample (`buffer` of docs/bundle-format.md) is a class-balanced draw of codes with their labels. It tells what a head
still knows of the training data; what it is worth in the field, only labels of the field tell. Codes are what a head
takes, so that no inference runtime is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headway.arrays import Bools, Float32, Int64
from headway.bundle import Variant
from headway.maths import Head, predicted_class


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSample:
    """codes: float32 (n, d); labels: int64 (n,), by `classes`, n > 0; space: of the features."""

    space: str
    codes: Float32
    labels: Int64
    classes: tuple[str, ...]

    @classmethod
    def of(cls, variant: Variant) -> EvaluationSample | None:
        """That of a bundle; None where it carries no sample with classes."""
        rows = variant.buffer
        if rows is None or rows.labels is None or not len(rows.labels):
            return None
        return cls(variant.space, np.asarray(rows.values, np.float32), rows.labels, variant.classes)

    def right(self, head: Head) -> Bools | None:
        """bool (n,): whether the head is right; None where it is of other features."""
        if len(head.kernel) != self.codes.shape[1]:
            return None
        # -1: a class that the bundle does not know
        places = np.array([self.classes.index(name) if name in self.classes else -1 for name in head.classes])
        said = places[predicted_class(head.probabilities(self.codes))]
        return np.asarray(said == self.labels)


@dataclass(frozen=True, slots=True)
class PairedShare:
    """Two heads on the same rows. gain: share of right answers of the second less that of the first, -1 to 1; error:
    its standard error; only_first, only_second: rows that one has right alone."""

    rows: int
    only_first: int
    only_second: int
    gain: float
    error: float


def paired(first: Bools, second: Bools) -> PairedShare:
    """Whether each of two heads is right, bool (n,) each, n > 0."""
    only_first, only_second, count = int((first & ~second).sum()), int((second & ~first).sum()), len(first)
    mean = (only_second - only_first) / count
    # of paired differences of -1, 0 and 1
    variance = max(only_first + only_second - count * mean**2, 0.0) / max(count - 1, 1)
    return PairedShare(count, only_first, only_second, mean, math.sqrt(variance / count))
