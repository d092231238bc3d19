"""Scores a head on labelled rows, whatever its task, and measures how far two outputs agree."""

from __future__ import annotations

import numpy as np

from converter.features import TrainingData
from headway.arrays import AnyArray, Float32, Float64
from headway.maths import HeadKind


def score(outputs: Float32, data: TrainingData, rows: AnyArray, kind: HeadKind) -> float:
    """0..1. One label: accuracy; several labels: share of right ones; regression: R^2, not below 0.

    outputs: float32 (n, C) after the link; rows: indices of the same n samples in `data`.
    """
    if data.targets is None:
        return float((outputs.argmax(axis=1) == data.y[rows]).mean())
    targets = data.targets[rows]
    if kind is HeadKind.SIGMOID:
        return float(((outputs >= 0.5) == (targets >= 0.5)).mean())
    return max(0.0, 1.0 - _unexplained(outputs, targets))


def confusion(outputs: Float32, data: TrainingData, rows: AnyArray) -> tuple[tuple[int, ...], ...]:
    """Counts by class of the data and class answered, (C, C); empty without one label per window.

    outputs: float32 (n, C); rows: indices of the same n samples in `data`.
    """
    if data.targets is not None:
        return ()
    table = np.zeros((len(data.classes), len(data.classes)), np.int64)
    np.add.at(table, (data.y[rows], outputs.argmax(axis=1)), 1)
    return tuple(tuple(map(int, row)) for row in table)


def agreement(outputs: Float32, reference: Float32, data: TrainingData, kind: HeadKind) -> float:
    """0..1, between what a written backbone gives and what the source model gives, by the same measure."""
    if data.targets is None:
        return float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean())
    if kind is HeadKind.SIGMOID:
        return float(((outputs >= 0.5) == (reference >= 0.5)).mean())
    return max(0.0, 1.0 - _unexplained(outputs, reference))


def _unexplained(outputs: Float32, targets: Float32) -> float:
    residual: Float64 = np.square(outputs.astype(np.float64) - targets).sum(axis=0)
    spread: Float64 = np.square(targets.astype(np.float64) - targets.mean(axis=0)).sum(axis=0)
    return float(np.mean(residual / np.maximum(spread, 1e-12)))
