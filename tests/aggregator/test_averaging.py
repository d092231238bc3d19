"""Federated averaging: the mean, its weights, clipping and staleness, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.heads.averaging import Contribution, average
from aggregator.policy import AveragingPolicy
from headway.arrays import Float32
from headway.errors import LocalError

WEIGHTS = np.ones((2, 3), np.float32)
FREE = AveragingPolicy(clip_norm=1e6, staleness_exponent=0.5)


def step(value: float) -> Float32:
    return np.full((2, 3), value, np.float32)


def test_the_mean_is_weighted_by_samples() -> None:
    moved = average(WEIGHTS, [Contribution(step(1.0), 30, 0), Contribution(step(-1.0), 10, 0)], FREE)
    assert moved == pytest.approx(step(1.5))


def test_one_update_weighs_no_more_than_the_limit() -> None:
    policy = AveragingPolicy(clip_norm=1e6, samples_max=10)
    moved = average(WEIGHTS, [Contribution(step(1.0), 10**9, 0), Contribution(step(-1.0), 10, 0)], policy)
    assert moved == pytest.approx(step(1.0))


def test_a_large_update_is_clipped_to_the_norm_and_a_small_one_is_not() -> None:
    policy = AveragingPolicy(clip_norm=1.0)
    moved = average(WEIGHTS, [Contribution(step(100.0), 1, 0)], policy)
    assert np.linalg.norm(moved - WEIGHTS) == pytest.approx(1.0, rel=1e-5)
    moved = average(WEIGHTS, [Contribution(step(0.1), 1, 0)], policy)
    assert moved == pytest.approx(step(1.1))


@pytest.mark.parametrize(("staleness", "share"), [(0, 1.0), (3, 0.5), (99, 0.1)])
def test_a_stale_update_moves_less(staleness: int, share: float) -> None:
    moved = average(WEIGHTS, [Contribution(step(1.0), 5, staleness)], FREE)
    assert moved == pytest.approx(step(1.0 + share))


def test_the_server_learning_rate_scales_the_step() -> None:
    policy = AveragingPolicy(clip_norm=1e6, learning_rate=0.25)
    assert average(WEIGHTS, [Contribution(step(1.0), 5, 0)], policy) == pytest.approx(step(1.25))


def test_no_contribution_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(LocalError):
        average(WEIGHTS, [], FREE)
