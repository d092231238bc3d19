"""The temperature: what is usual while rows are few, what the rows say when they are many."""

from __future__ import annotations

import numpy as np

from headway.maths.calibration import DISCRIMINANT_LOG2, fit_temperature, scoring_loss
from headway.maths.head import log_softmax


def overconfident(count: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times too large for labels drawn from them."""
    random = np.random.default_rng(0)
    honest = random.normal(0, 1.5, (count, 4))
    chances = np.exp(log_softmax(honest))
    labels = np.array([random.choice(4, p=row) for row in chances])
    return honest * factor, labels


def test_many_rows_find_the_factor_whatever_is_usual() -> None:
    logits, labels = overconfident(3000, 8.0)
    assert fit_temperature(logits, labels) == 8.0
    assert fit_temperature(logits, labels, DISCRIMINANT_LOG2) == 8.0


def test_without_rows_it_is_one_and_with_a_few_it_is_near_the_usual() -> None:
    logits, labels = overconfident(2, 1.0)
    assert fit_temperature(logits[:0], labels[:0], DISCRIMINANT_LOG2) == 1.0
    right = np.array([[9.0, 0.0], [0.0, 9.0]])
    few = fit_temperature(right, np.array([0, 1]), DISCRIMINANT_LOG2)
    assert 2.0 <= few <= 4.0


def test_a_confident_mistake_among_a_few_cools_the_head() -> None:
    logits = np.array([[20.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    assert fit_temperature(logits, np.array([0, 1, 1]), DISCRIMINANT_LOG2) >= 8.0


def test_the_scoring_loss_counts_an_error_as_one_and_is_bounded() -> None:
    chances = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    losses = scoring_loss(chances, np.array([0, 1, 0]))
    assert losses[0] == 0
    assert losses[1] == 2
    assert 0 < losses[2] < 0.25
