"""How good a head is on rows that it was not fitted to, beside what needs no model at all, in one line."""

from __future__ import annotations

import numpy as np

from converter.features import TrainingData
from headway.arrays import Bools, Float32, Float64, Int64
from headway.maths import HeadKind

EVERY = 5
# mean recall is told where the most frequent class has this many times its share of the rows
UNEVEN = 1.5
OUTPUTS_SHOWN = 8


def held_out(data: TrainingData) -> tuple[Bools, Bools]:
    """Every fifth row, of classes every fifth of each class's own rows; and the rows to fit on, all others. bool (n,),
    the first without any True where n < 5.

    Windows that overlap are held out in runs, and those beside a run that share rows with it are in neither. None is
    held out where that would leave less than half of them to fit on.
    """
    count, overlap = len(data.x), data.overlap
    held = np.zeros(count, bool)
    groups = [np.arange(count)]
    if data.targets is None:
        groups = [np.flatnonzero(data.y == index) for index in range(len(data.classes))]
    for rows in groups:
        run = max(1, min(2 * overlap, len(rows) // EVERY))
        held[rows] = np.arange(len(rows)) // run % EVERY == EVERY - 1
    near = np.convolve(held, np.ones(2 * overlap + 1))[overlap : overlap + count] > 0.5
    return (held, ~near) if 2 * near.sum() <= count else (np.zeros(count, bool), np.ones(count, bool))


def held_line(outputs: Float32, data: TrainingData, held: Bools, kind: HeadKind, how: str) -> str:
    """outputs: float32 (m, C) after the link, of the rows that `held` bool (n,) names; how: begins the line."""
    if data.targets is not None:
        return _of_targets(outputs.astype(np.float64), data, held, kind, how)
    answers, labels = outputs.argmax(axis=1), data.y[held]
    right = float((answers == labels).mean())
    usual = int(np.bincount(data.y[~held]).argmax())
    chance = float((labels == usual).mean())
    told = f"{how} is right on {100 * right:.1f} % of those; always {data.classes[usual]!r}: {100 * chance:.1f} %"
    present = np.unique(labels)
    if chance * len(present) > UNEVEN:
        told += f"; mean recall of the classes {100 * _mean_recall(answers, labels, present):.1f} %"
    return told if right > chance else f"warning: {told}"


def _mean_recall(answers: Int64, labels: Int64, present: Int64) -> float:
    return float(np.mean([(answers[labels == index] == index).mean() for index in present]))


def _of_targets(outputs: Float64, data: TrainingData, held: Bools, kind: HeadKind, how: str) -> str:
    assert data.targets is not None
    truth, usual = data.targets[held].astype(np.float64), data.targets[~held].astype(np.float64).mean(axis=0)
    if kind is HeadKind.SIGMOID:
        right = float(((outputs >= 0.5) == (truth >= 0.5)).mean())
        chance = float(((usual >= 0.5) == (truth >= 0.5)).mean())
        told = (
            f"{how} has {100 * right:.1f} % of the labels of those right; each at its usual value: {100 * chance:.1f} %"
        )
        return told if right > chance else f"warning: {told}"
    own, constant = np.abs(outputs - truth).mean(axis=0), np.abs(usual - truth).mean(axis=0)
    left = np.square(outputs - truth).sum(axis=0) / np.maximum(np.square(truth - usual).sum(axis=0), 1e-300)
    each = [
        f"{name} {one:.4g} (always the mean: {other:.4g}; R2 {1 - share:.3f})"
        for name, one, other, share in zip(data.classes, own, constant, left, strict=True)
    ]
    more = f" and {len(each) - OUTPUTS_SHOWN} more" if len(each) > OUTPUTS_SHOWN else ""
    told = f"{how} has on those a mean absolute error of {', '.join(each[:OUTPUTS_SHOWN])}{more}"
    return told if (own < constant).any() else f"warning: {told}"
