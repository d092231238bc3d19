"""Random ReLU features beside the embedding, and how many of them cross-validation asks for.

relu(v W + b) with fixed random W lets a linear head bend (extreme learning machine, Huang et al. 2006). Expanding
the sensor's input, where it is small, also keeps what the backbone threw away.
"""

from __future__ import annotations

import numpy as np

from converter.training_data import TrainingData
from headway.arrays import Float32, Int64
from headway.errors import ConfigError
from headway.features import Expansion, FeatureMap, calibrate_scale, raw_features
from headway.solve import fleet_head
from headway.statistics import Statistics

FOLDS = 5
SIZES = (64, 192)
INPUT_VALUES_MAX = 256
ROWS_MAX = 4000


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


def choose_expansion(linear: Float32, inputs: Float32, data: TrainingData, seed: int) -> Expansion | None:
    """The smallest expansion within one standard error of the best in five-fold cross-validation, or none.

    (Breiman et al. 1984, the one-standard-error rule.) Scored is LDA on int8 codes, as a device will use them.
    Raises ConfigError without one label per sample.
    """
    if data.targets is not None:
        raise ConfigError("--expand auto compares accuracies and needs one label per sample; give a number")
    rows = np.random.default_rng(seed).permutation(len(linear))[:ROWS_MAX]
    linear_rows, input_rows, labels = linear[rows], inputs[rows], data.y[rows]
    candidates: list[Expansion | None] = [None]
    tabular = inputs[0].size <= INPUT_VALUES_MAX
    for size in SIZES:
        for of_input in (False, True) if tabular else (False,):
            candidates.append(random_expansion(linear, inputs, size, of_input, seed))
    scores = np.array([_fold_scores(linear_rows, input_rows, labels, data.classes, c) for c in candidates])
    means = scores.mean(axis=1)
    best = int(means.argmax())
    error = float(scores[best].std(ddof=1)) / np.sqrt(FOLDS)
    return candidates[int(np.flatnonzero(means >= means[best] - error)[0])]


def _fold_scores(
    linear: Float32, inputs: Float32, labels: Int64, classes: tuple[str, ...], expansion: Expansion | None
) -> list[float]:
    raw = raw_features(linear, inputs, expansion)
    features = FeatureMap(linear.shape[1], calibrate_scale(raw), expansion)
    codes, _ = features.codes(linear, inputs)
    total = Statistics.of(codes, labels, classes, "fold")
    scores = []
    for fold in range(FOLDS):
        held = np.arange(len(labels)) % FOLDS == fold
        # the tables of the other folds: exact subtraction instead of another pass
        rest = total - Statistics.of(codes[held], labels[held], classes, "fold")
        head = fleet_head(rest, Statistics.zeros(features.size, classes, "fold"))
        logits = head.logits(codes[held].astype(np.float32))
        scores.append(float((logits.argmax(axis=1) == labels[held]).mean()))
    return scores
