"""Chooses how many principal components to keep of a wide embedding, by how well heads over them answer.

What a device sends, stores and solves grows with the square of its features, and a modern backbone has 1,280 of them,
most of which say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from converter.features.data import TrainingData
from converter.features.expand import BLOCKS, time_blocks
from converter.features.selection import principal_components
from headway.arrays import AnyArray, Float32, Int64
from headway.maths import FeatureMap, Statistics, calibrate_scale, fleet_head, raw_features

# up to here a head is cheap to send and to solve on the smallest device, and nothing is left out unasked
FEATURES_KEPT = 400
COUNTS = (256, 384)
LOSS_MAX = 0.002  # accuracy, or explained variance, 0 to 1
PENALTY = 1e-3


@dataclass(frozen=True, slots=True)
class Reduction:
    """`count` principal components, 0 for the embedding as it is, and why, in one line; empty where none was asked."""

    count: int
    reason: str = ""


def choose_reduction(embedding: Float32, data: TrainingData) -> Reduction:
    """The fewest of `COUNTS` components that lose at most .2 points against the embedding, on held-out windows.

    Each class, or all of the data where it has no classes, is cut into five blocks in time order, and each block is
    held out in turn: neighbours in time are near copies. embedding: float32 (n, e), from the written backbone.
    """
    size = embedding.shape[1]
    if size <= FEATURES_KEPT:
        return Reduction(0)
    blocks, rows = _blocks(data)
    if rows is None:
        return Reduction(0, f"none: fewer than {2 * BLOCKS} windows of a class, too few to compare; see --pca")
    embedding, data = embedding[rows], _rows_of(data, rows)
    whole = _score(embedding, data, blocks, 0)
    told = [f"all {size} {100 * whole:.2f}"]
    for count in COUNTS:
        score = _score(embedding, data, blocks, count)
        told.append(f"{count} {100 * score:.2f}")
        if score >= whole - LOSS_MAX:
            kept = f"{count} of {size}: at most {100 * LOSS_MAX:.1f} points below all of them on held-out windows"
            return Reduction(count, f"{kept} ({', '.join(told)} %)")
    lost = f"none: fewer components lose more than {100 * LOSS_MAX:.1f} points on held-out windows"
    return Reduction(0, f"{lost} ({', '.join(told)} %)")


def _blocks(data: TrainingData) -> tuple[Int64, Int64 | None]:
    """The block of each row kept, and which rows are kept; None where there are too few."""
    if data.targets is None:
        return time_blocks(data.y)
    known = np.flatnonzero(~np.isnan(data.targets).any(axis=1))
    return time_blocks(np.zeros(len(known), np.int64), known)


def _rows_of(data: TrainingData, rows: Int64) -> TrainingData:
    targets = None if data.targets is None else data.targets[rows]
    return replace(data, x=data.x[rows], y=data.y[rows], targets=targets)


def _score(embedding: Float32, data: TrainingData, blocks: Int64, count: int) -> float:
    """Accuracy on held-out blocks, or the variance of the targets that is explained there, 0 to 1."""
    return float(np.mean([_held_out(embedding, data, blocks == block, count) for block in range(BLOCKS)]))


def _held_out(embedding: Float32, data: TrainingData, held: AnyArray, count: int) -> float:
    """Components, scales and head are fitted without the block `held`, bool (n,)."""
    mean, components = principal_components(embedding[~held], count) if count else (None, None)
    scale = calibrate_scale(raw_features(embedding[~held], None, None, mean, components))
    features = FeatureMap(embedding.shape[1], scale, None, mean, components)
    nothing = np.zeros((len(embedding), 0), np.float32)
    codes, _ = features.codes(embedding, nothing)
    if data.targets is not None:
        return _explained(codes.astype(np.float64), data.targets.astype(np.float64), held)
    tables = Statistics.of(codes[~held], data.y[~held], data.classes, "fold")
    head = fleet_head(tables, Statistics.zeros(features.size, data.classes, "fold"))
    answers = head.logits(codes[held].astype(np.float32)).argmax(axis=1)
    return float((answers == data.y[held]).mean())


def _explained(codes: AnyArray, targets: AnyArray, held: AnyArray) -> float:
    """R^2 of a ridge regression, the mean over targets that vary, each at least 0."""
    rows, aims = codes[~held], targets[~held]
    centre, level = rows.mean(axis=0), aims.mean(axis=0)
    rows = rows - centre
    gram = rows.T @ rows
    gram[np.diag_indices(len(gram))] += PENALTY * np.trace(gram) / len(gram)
    weights = np.linalg.solve(gram, rows.T @ (aims - level))
    left = np.square((codes[held] - centre) @ weights + level - targets[held]).sum(axis=0)
    spread = np.square(targets[held] - targets[held].mean(axis=0)).sum(axis=0)
    varies = spread > 0
    return float(np.clip(1 - left[varies] / spread[varies], 0, 1).mean()) if varies.any() else 0.0
