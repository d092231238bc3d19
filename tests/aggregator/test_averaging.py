"""Federated averaging: the mean, its weights, clipping and staleness, against figures worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from aggregator.heads.averaging import Contribution, average, mean_of, merged, weights_of
from aggregator.policy import AveragingPolicy
from headway.arrays import Float32
from headway.errors import LocalError
from headway.wire import Update

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


def claims(*counts: int) -> list[Contribution]:
    """Contributions of so many samples each; the last one pulls the other way."""
    return [Contribution(step(1.0 if number < len(counts) - 1 else -1.0), n) for number, n in enumerate(counts)]


@pytest.mark.parametrize("claimed", [17, 160, 2**40])
def test_claimed_samples_weigh_no_more_than_the_usual_ones_of_the_round(claimed: int) -> None:
    honest = average(WEIGHTS, claims(*[16] * 10), FREE)
    assert average(WEIGHTS, claims(*[16] * 9, claimed), FREE).tobytes() == honest.tobytes()


def test_a_long_update_is_shortened_to_twice_the_usual_length_of_the_round() -> None:
    others = [Contribution(step(0.1), 16) for _ in range(9)]
    policy = AveragingPolicy(clip_norm=1e6, norm_factor=2.0)
    moved = average(WEIGHTS, [*others, Contribution(step(-50.0), 16)], policy)
    assert moved == pytest.approx(step(1.0 + (0.9 - 0.2) / 10))


def test_with_fewer_than_four_devices_nobody_is_the_measure_of_the_others() -> None:
    moved = average(WEIGHTS, [Contribution(step(1.0), 30), Contribution(step(-1.0), 10)], FREE)
    assert moved == pytest.approx(step(1.5))


def test_what_one_device_sent_is_one_contribution() -> None:
    sent = [
        Update("a", 1, number + 1, base, count, "s", ("x", "y"), step(value))
        for number, (base, count, value) in enumerate([(4, 10, 1.0), (4, 30, 3.0), (1, 60, 2.0)])
    ]
    part = merged(sent, 5, FREE)
    assert part.samples == 100
    assert part.delta == pytest.approx(step((10 * 1.0 + 30 * 3.0 + 60 * 2.0 * 0.5) / 100))
    fresh, stale = (merged(sent[at : at + 1], 5, FREE) for at in (0, 2))
    assert (fresh.samples, stale.samples) == (10, 60)
    assert fresh.delta.tobytes() == sent[0].delta.tobytes()
    assert stale.delta == pytest.approx(step(1.0))
    with pytest.raises(LocalError):
        merged([], 5, FREE)


def test_the_mean_is_made_in_float64() -> None:
    random = np.random.default_rng(4)
    sent = [Contribution(random.normal(size=(2, 50)).astype(np.float32), int(count)) for count in (7, 11, 13)]
    worth = weights_of(sent, AveragingPolicy(clip_norm=0.7))
    assert max(worth.scales) < 1
    parts = [factor * one.delta.astype(np.float64) for one, factor in zip(sent, worth.factors, strict=True)]
    # rounded once, in whatever order
    expected = np.apply_along_axis(math.fsum, 0, np.stack(parts)) / sum(worth.samples)
    assert mean_of(sent, worth).tobytes() == expected.tobytes()
    backwards = replace(worth, samples=worth.samples[::-1], scales=worth.scales[::-1])
    assert mean_of(sent[::-1], backwards).tobytes() == expected.tobytes()
