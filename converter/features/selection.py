"""Reduces features: principal components, or a selection by F-score or mutual information with the labels."""

from __future__ import annotations

import numpy as np

from converter.features.data import TrainingData
from headway.arrays import Float32, Float64, Int64
from headway.errors import ConfigError

BINS = 16


def principal_components(embedding: Float32, count: int) -> tuple[Float32, Float32]:
    """Mean (e,) and the `count` directions of largest variance (e, count), float32.

    A direction's sign is free; its largest entry is made positive, so that equal data gives equal bytes.
    """
    values = embedding.astype(np.float64)
    mean = values.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(values - mean, rowvar=False).reshape(values.shape[1], -1))
    chosen = vectors[:, ::-1][:, :count]
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(count)])
    return mean.astype(np.float32), (chosen * np.where(signs == 0, 1, signs)).astype(np.float32)


def selected_components(embedding: Float32, data: TrainingData, count: int, by: str) -> tuple[Float32, Float32]:
    """Mean zero (e,) and a 0/1 matrix (e, count) that keeps the best features in their order."""
    if by == "mutual-information":
        if data.targets is not None:
            raise ConfigError("--select-by mutual-information needs one label per sample; use f-score")
        scores = mutual_information(embedding, data.y)
    else:
        scores = f_scores(embedding, data)
    kept = np.sort(np.argsort(-scores, kind="stable")[:count])
    components = np.zeros((embedding.shape[1], count), np.float32)
    components[kept, np.arange(count)] = 1
    return np.zeros(embedding.shape[1], np.float32), components


def f_scores(embedding: Float32, data: TrainingData) -> Float64:
    """One-way ANOVA F per feature, float64 (e,); for targets the F of a linear fit, the best over the targets."""
    values = embedding.astype(np.float64)
    if data.targets is not None:
        return _regression_f(values, data.targets.astype(np.float64))
    present = np.unique(data.y)
    mean = values.mean(axis=0)
    between, within = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for label in present:
        rows = values[data.y == label]
        centre = rows.mean(axis=0)
        between += len(rows) * (centre - mean) ** 2
        within += np.square(rows - centre).sum(axis=0)
    freedom = max(len(values) - len(present), 1)
    return np.asarray(between / (len(present) - 1) / np.maximum(within / freedom, 1e-12), np.float64)


def mutual_information(embedding: Float32, labels: Int64) -> Float64:
    """I(feature; label) in nats, each feature cut into 16 equally filled bins, float64 (e,)."""
    classes = int(labels.max()) + 1
    result = np.zeros(embedding.shape[1])
    for column in range(embedding.shape[1]):
        values = embedding[:, column]
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        joint = np.zeros((len(edges) + 1, classes))
        np.add.at(joint, (np.searchsorted(edges, values, side="right"), labels), 1.0)
        joint /= joint.sum()
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        seen = joint > 0
        result[column] = float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())
    return result


def _regression_f(values: Float64, targets: Float64) -> Float64:
    centred, aims = values - values.mean(axis=0), targets - targets.mean(axis=0)
    norms = np.sqrt(np.square(centred).sum(axis=0))[:, None] * np.sqrt(np.square(aims).sum(axis=0))
    squared = np.square(centred.T @ aims / np.maximum(norms, 1e-12)).clip(0, 1 - 1e-12)
    return np.asarray((squared / (1 - squared) * max(len(values) - 2, 1)).max(axis=1), np.float64)
