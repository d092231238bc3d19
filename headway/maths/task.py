"""The task of a model, which decides the link, the loss, the shape of labels and the metrics."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from headway.arrays import AnyArray, Float32
from headway.maths.head import HeadKind

LABEL_THRESHOLD = 0.5


class Task(StrEnum):
    """CLASSIFICATION: one class per window; MULTI_LABEL: any number of labels; REGRESSION: values."""

    CLASSIFICATION = "classification"
    MULTI_LABEL = "multi-label"
    REGRESSION = "regression"

    @property
    def link(self) -> HeadKind:
        """The link function of the heads that are learned."""
        return _LINKS[self]


_LINKS = {
    Task.CLASSIFICATION: HeadKind.SOFTMAX,
    Task.MULTI_LABEL: HeadKind.SIGMOID,
    Task.REGRESSION: HeadKind.LINEAR,
}


def predicted(outputs: Float32, task: Task) -> AnyArray:
    """What a person reads off the outputs, float32 (n, C), of a head after its link.

    Classification: the most probable class, int64 (n,); multi-label: 0 or 1 for each, int64 (n, C); regression: the
    values, float32 (n, C).
    """
    if task is Task.CLASSIFICATION:
        return np.asarray(outputs.argmax(axis=1), np.int64)
    return outputs if task is Task.REGRESSION else (outputs >= LABEL_THRESHOLD).astype(np.int64)
