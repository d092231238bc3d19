"""Adds random ReLU features to the embedding; cross-validation chooses how many.

relu(v W + b) with fixed random W lets a linear head bend (extreme learning machine, Huang et al. 2006). Expanding
the sensor's input, where it is small, also keeps what the backbone threw away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from converter.features.data import TrainingData
from headway.arrays import AnyArray, Float32, Float64, Int64
from headway.errors import ConfigError
from headway.maths import Expansion, FeatureMap, Statistics, calibrate_scale, fleet_head, raw_features

BLOCKS = 5
STEPS = 5
DRIFT = 0.5  # of each step: log-gain, and offset over the spread of its channel
SIZES = (64, 192)
INPUT_VALUES_MAX = 256
ROWS_MAX = 2000

Embed = Callable[[Float32], Float32]
Project = Callable[[Float32, TrainingData], tuple[Float32 | None, Float32 | None]]


@dataclass(frozen=True, slots=True)
class Choice:
    """`count` random features (0 for none) of the input or of the embedding, and why, in one line."""

    count: int
    of_input: bool
    reason: str


def random_expansion(linear: Float32, inputs: Float32, count: int, of_input: bool, seed: int) -> Expansion:
    """Gaussian directions of the standardised values, the standardisation folded into weights and bias.

    linear: float32 (n, k) features; inputs: float32 (n, *input_shape); one of them gives v, (n, m).
    """
    values = (inputs.reshape(len(inputs), -1) if of_input else linear).astype(np.float64)
    deviation = values.std(axis=0)
    gain = 1.0 / np.where(deviation > 1e-6 * max(float(deviation.max()), 1e-30), deviation, np.inf)
    random = np.random.default_rng(seed)
    weights = gain[:, None] * random.normal(0, 1 / np.sqrt(values.shape[1]), (values.shape[1], count))
    bias = random.normal(0, 1, count) - values.mean(axis=0) @ weights
    return Expansion(weights.astype(np.float32), bias.astype(np.float32), of_input)


def choose_expansion(
    embedding: Float32, inputs: Float32, data: TrainingData, embed: Embed, project: Project, seed: int
) -> Choice:
    """An expansion within one standard error of the best (Breiman et al. 1984), judged as it will be used.

    Random folds of the training data would always say: none. The backbone has seen these windows, neighbours in time
    are near copies, and nothing drifts. So each class is cut into five blocks in time order; the held-out one drifts
    step by step (a gain and an offset per channel walk away) and crosses the backbone anew at each step. The tables
    of the other blocks take in one half of it at every step and forget nothing, as a device's do; the head solved
    from them is scored on the other half. Projection, expansion and scales are fitted without the held-out block.

    embedding: float32 (n, e); inputs: float32 (n, *input_shape), both of all rows; embed: the written backbone;
    project: rows and their data -> mean and components. Raises ConfigError without one label per sample.
    """
    if data.targets is not None:
        raise ConfigError("--expand auto compares accuracies and needs one label per sample; give a number")
    blocks, rows = time_blocks(data.y)
    if rows is None:
        return Choice(0, False, f"none: a class has fewer than {2 * BLOCKS} windows, too few to compare expansions on")
    kept = replace(data, x=data.x[rows], y=data.y[rows])
    embedding, inputs = embedding[rows], inputs[rows]
    candidates = _candidates(inputs)
    drifted = _drifted(inputs, np.random.default_rng(seed))
    moved = [embed(rows) for rows in drifted]
    scores = np.zeros((len(candidates), BLOCKS))
    for block in range(BLOCKS):
        held = blocks == block
        fold = _Fold(embedding, inputs, moved, drifted, kept, held, seed)
        projection = project(embedding[~held], replace(kept, x=kept.x[~held], y=kept.y[~held]))
        for index, (count, of_input) in enumerate(candidates):
            scores[index, block] = fold.score(projection, count, of_input)
    return _chosen(candidates, scores)


def _candidates(inputs: Float32) -> list[tuple[int, bool]]:
    """Of the input only where it is small, as tables of sensors are."""
    sources = (False, True) if inputs[0].size <= INPUT_VALUES_MAX else (False,)
    return [(0, False), *((size, of_input) for size in SIZES for of_input in sources)]


def _chosen(candidates: list[tuple[int, bool]], scores: Float64) -> Choice:
    """scores: (candidates, blocks). Standard errors are those of the difference from the best, block by block."""
    means = scores.mean(axis=1)
    best = int(means.argmax())
    lost = scores[best] - scores
    errors = lost.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
    close = [index for index in range(len(candidates)) if lost[index].mean() <= errors[index]]
    index = min(close, key=lambda index: _preference(*candidates[index]))
    told = ", ".join(f"{_named(*c)} {100 * m:.2f}" for c, m in zip(candidates, means, strict=True))
    reason = f"{_named(*candidates[index])}: within one standard error of the best under simulated drift"
    return Choice(*candidates[index], f"{reason} ({told} %)")


def _preference(count: int, of_input: bool) -> int:
    """Of candidates that cannot be told apart: many of the input, which keep what the backbone threw away and real
    drift may need; then none; then few of the embedding, which hold nothing that is not in it."""
    return -count if of_input else count


def _named(count: int, of_input: bool) -> str:
    return f"{count} of the {'input' if of_input else 'embedding'}" if count else "none"


def time_blocks(labels: Int64, of: Int64 | None = None) -> tuple[Int64, Int64 | None]:
    """The block of each row kept, int64 (m,), and which rows are kept, in time order; None where a class is too small.

    labels: int64 (n,). of: the rows that these are, where they are not all.
    """
    per_class = max(ROWS_MAX // len(np.unique(labels)), 2 * BLOCKS)
    kept, blocks = [], []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) < 2 * BLOCKS:
            return np.zeros(0, np.int64), None
        own = own[np.linspace(0, len(own) - 1, min(per_class, len(own))).astype(np.int64)]
        kept.append(own)
        blocks.append(np.arange(len(own)) * BLOCKS // len(own))
    rows = np.concatenate(kept)
    order = np.argsort(rows, kind="stable")
    return np.concatenate(blocks)[order], rows[order] if of is None else of[rows[order]]


def _drifted(inputs: Float32, random: np.random.Generator) -> list[Float32]:
    """The same windows at later and later times: gain and offset of each channel walk away from one and zero."""
    spread = inputs.reshape(-1, inputs.shape[-1]).std(axis=0)
    gain, offset, moved = np.ones_like(spread), np.zeros_like(spread), []
    for _ in range(STEPS):
        gain = gain * np.exp(random.normal(0, DRIFT, spread.shape)).astype(np.float32)
        offset = offset + random.normal(0, DRIFT, spread.shape).astype(np.float32) * spread
        moved.append(np.asarray(inputs * gain + offset, np.float32))
    return moved


@dataclass(frozen=True, slots=True)
class _Fold:
    embedding: Float32
    inputs: Float32
    moved: list[Float32]
    drifted: list[Float32]
    data: TrainingData
    held: AnyArray
    seed: int

    def score(self, projection: tuple[Float32 | None, Float32 | None], count: int, of_input: bool) -> float:
        """Accuracy on the second halves of the held-out, drifted rows."""
        rest = ~self.held
        mean, components = projection
        embedding, inputs = self.embedding[rest], self.inputs[rest]
        linear = raw_features(embedding, None, None, mean, components)
        expansion = random_expansion(linear, inputs, count, of_input, self.seed) if count else None
        scale = calibrate_scale(raw_features(embedding, inputs, expansion, mean, components))
        features = FeatureMap(embedding.shape[1], scale, expansion, mean, components)
        codes, _ = features.codes(embedding, inputs)
        labels, classes = self.data.y[self.held], self.data.classes
        learn = np.arange(len(labels)) % 2 == 0
        tables = Statistics.of(codes, self.data.y[rest], classes, "fold")
        right = []
        for moved, drifted in zip(self.moved, self.drifted, strict=True):
            seen, _ = features.codes(moved[self.held], drifted[self.held])
            tables = tables + Statistics.of(seen[learn], labels[learn], classes, "fold")
            head = fleet_head(tables, Statistics.zeros(features.size, classes, "fold"))
            logits = head.logits(seen[~learn].astype(np.float32))
            right.append(float((logits.argmax(axis=1) == labels[~learn]).mean()))
        return float(np.mean(right))
