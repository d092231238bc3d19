"""The gradient step against finite differences, and its behaviour when numbers blow up."""

from __future__ import annotations

import numpy as np

from headway.features import FeatureMap
from headway.gradient import SoftmaxSGD, fold_frozen_head, head_over_codes, weights_over_unit_codes
from headway.head import Head, HeadInput, HeadKind


def loss(weights: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    extended = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    logits = extended @ weights.T
    logits -= logits.max(axis=1, keepdims=True)
    log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return float(-log_probability[np.arange(len(labels)), labels].mean())


def test_one_step_follows_the_numerical_gradient() -> None:
    random = np.random.default_rng(1)
    features, labels = random.normal(size=(6, 4)).astype(np.float32), random.integers(0, 3, 6)
    start = random.normal(size=(3, 5)).astype(np.float32)
    sgd = SoftmaxSGD(start.copy(), 0.25, 8)
    assert sgd.step(features, labels)
    gradient = np.zeros_like(start, dtype=np.float64)
    for index in np.ndindex(*start.shape):
        up, down = start.astype(np.float64), start.astype(np.float64)
        up[index] += 1e-5
        down[index] -= 1e-5
        gradient[index] = (loss(up, features, labels) - loss(down, features, labels)) / 2e-5
    assert np.allclose(sgd.weights, start - 0.25 * gradient, atol=1e-5)


def test_a_step_that_is_not_finite_is_taken_back() -> None:
    start = np.ones((2, 3), np.float32)
    sgd = SoftmaxSGD(start.copy(), 0.1, 4)
    assert not sgd.step(np.array([[np.nan, 1.0]], np.float32), np.array([0]))
    assert np.array_equal(sgd.weights, start)


def test_training_reaches_a_separable_problem() -> None:
    random = np.random.default_rng(2)
    labels = random.integers(0, 3, 300)
    features = (np.eye(3)[labels] + random.normal(0, 0.1, (300, 3))).astype(np.float32)
    sgd = SoftmaxSGD(np.zeros((3, 4), np.float32), 1.0, 30)
    for start in range(0, 300, 30):
        sgd.step(features[start : start + 30], labels[start : start + 30])
    assert loss(sgd.weights.astype(np.float64), features, labels) < 0.5


def test_folding_keeps_the_frozen_head_and_units_invert() -> None:
    random = np.random.default_rng(3)
    head = Head(
        random.normal(size=(4, 3)).astype(np.float32),
        random.normal(size=3).astype(np.float32),
        HeadKind.SOFTMAX,
        ("a", "b", "c"),
        HeadInput.EMBEDDING,
    )
    feature_map = FeatureMap(4, np.array([1, 2, 3, 4], np.float32))
    folded = fold_frozen_head(head, feature_map)
    embedding = random.uniform(-1, 1, (20, 4)).astype(np.float32)
    codes, _ = feature_map.codes(embedding)
    assert np.allclose(folded.logits(codes.astype(np.float32)), head.logits(embedding), atol=0.1)
    back = head_over_codes(weights_over_unit_codes(folded), folded.classes)
    assert np.allclose(back.kernel, folded.kernel, rtol=1e-6)
