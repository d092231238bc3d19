"""The default mean of a round: whom it leaves out, what it makes up for, and what its comparisons are made of."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.heads.agreement import JURY, Compared, robust_mean
from aggregator.heads.averaging import Contribution, mean_of, weights_of
from aggregator.heads.sketches import DIMENSIONS, Sketch
from aggregator.policy import AveragingPolicy, Robust
from headway.arrays import Float32, Float64

POLICY = AveragingPolicy(clip_norm=1e6)
FREE = AveragingPolicy(clip_norm=1e6, norm_factor=1000.0)


def noisy(count: int, size: int, signal: float = 0.2) -> Float32:
    """Honest updates near the end of learning, (count, 2, size / 2): what all share is `signal` long, noise 1."""
    random = np.random.default_rng(count)
    noise = random.normal(size=(count, size)) / np.sqrt(size)
    shared = np.full(size, signal / np.sqrt(size))
    return (noise + shared).reshape(count, 2, -1).astype(np.float32)


def sent_with(rows: Float32, liars: Float32) -> list[Contribution]:
    return [Contribution(row, 10) for row in np.concatenate([rows, liars])]


def aligned(sent: list[Contribution], policy: AveragingPolicy = POLICY) -> Float64:
    return robust_mean(sent, weights_of(sent, policy), policy)


@pytest.mark.parametrize(("devices", "size", "signal"), [(10, 100, 0.35), (100, 200, 0.15), (100, 4000, 0.15)])
def test_a_fifth_that_sends_the_same_does_not_vouch_for_itself(devices: int, size: int, signal: float) -> None:
    """Against the others' mean, as long as they are: together they outweigh what the others share."""
    count = devices // 5
    honest = noisy(devices - count, size, signal)
    mean = honest.mean(axis=0)
    liars = np.repeat((-mean / np.linalg.norm(mean))[None], count, axis=0)
    sent = sent_with(honest, liars.astype(np.float32))
    total = sum(one.delta.astype(np.float64) for one in sent)
    others = total - liars[0]
    if devices == 100:
        assert float(np.vdot(liars[0], others)) > 0, "beside the sum of all others they are right"
    compared = Compared.of(sent, weights_of(sent, POLICY), 0.2)
    assert not compared.kept[-count:].any()
    assert compared.kept[:-count].mean() > 0.8
    assert (compared.cosines[-count:] < 0).all()
    assert float(np.vdot(aligned(sent), mean.ravel())) > 0


def test_nobody_is_left_out_where_all_agree_or_nobody_does() -> None:
    alike = [Contribution(row, 10) for row in noisy(12, 60, signal=3.0)]
    assert Compared.of(alike, weights_of(alike, POLICY), 0.2).kept.all()
    apart = [Contribution(row.reshape(2, 3), 10) for row in (np.eye(6, dtype=np.float32) - np.float32(1 / 6))]
    assert Compared.of(apart, weights_of(apart, POLICY), 0.2).kept.all()


def test_the_step_is_as_long_as_if_a_quarter_had_not_been_shortened() -> None:
    way = np.full((2, 3), 6**-0.5, np.float32)
    sent = [Contribution(np.float32(length) * way, 10) for length in (1, 1, 1, 1, 1, 1, 1.2, 1.4)]
    assert np.linalg.norm(aligned(sent)) == pytest.approx(np.linalg.norm(mean_of(sent, weights_of(sent, FREE))))
    bold = [*sent[:-1], Contribution(np.float32(1e5) * way, 10)]
    assert np.linalg.norm(aligned(bold)) == pytest.approx((7.2 + 1.5) / 8), "of one half more than usual at most"
    plain = AveragingPolicy(clip_norm=1.0)
    assert np.linalg.norm(aligned(sent, plain)) == pytest.approx(1.0), "clip_norm is never made up for"


def test_only_those_left_out_weigh_nothing() -> None:
    rows = noisy(9, 60, signal=2.0)
    sent = sent_with(rows, -rows[:1])
    expected = FREE.learning_rate * rows.mean(axis=0, dtype=np.float64)
    assert aligned(sent, FREE) == pytest.approx(expected.ravel(), rel=1e-5)


def test_a_sketch_keeps_products_and_small_updates_whole() -> None:
    random = np.random.default_rng(3)
    small = random.normal(size=(2, DIMENSIONS // 2)).astype(np.float32)
    assert Sketch(small.size).of(small) == pytest.approx(small.ravel())
    large = random.normal(size=(40, 9, 641)).astype(np.float32)
    large /= np.linalg.norm(large.reshape(40, -1), axis=1)[:, None, None]
    sketch = Sketch(9 * 641)
    folded = np.stack([sketch.of(one) for one in large])
    error = folded @ folded.T - large.reshape(40, -1) @ large.reshape(40, -1).T
    assert error.std() < 1.5 * (2 / DIMENSIONS) ** 0.5
    assert Sketch(9 * 641).of(large[0]) != pytest.approx(folded[0]), "the signs are this sketch's alone"


@pytest.mark.parametrize("entry", [3e38, 1e-45])
def test_an_update_at_the_end_of_float32_leaves_the_comparison_of_the_others_as_it_is(entry: float) -> None:
    honest = noisy(9, 4000, 1.0)
    sent = sent_with(honest, -honest[:1])
    extreme = [*sent, Contribution(np.full((2, 2000), entry, np.float32), 10)]
    compared = Compared.of(extreme, weights_of(extreme, POLICY), 0.2)
    assert compared.kept[:-1].tolist() == [True] * 9 + [False]
    assert (compared.cosines[:9] > 0.3).all()


def test_rounds_larger_than_the_jury_are_judged_by_a_drawn_one() -> None:
    devices = 3 * JURY
    honest = noisy(devices - devices // 5, 400, 0.5)
    mean = honest.mean(axis=0)
    liars = np.repeat((-mean / np.linalg.norm(mean))[None], devices // 5, axis=0).astype(np.float32)
    sent = sent_with(honest, liars)
    for _ in range(3):
        assert not Compared.of(sent, weights_of(sent, POLICY), 0.2).kept[-len(liars) :].any()


def test_updates_of_nothing_and_a_round_of_one_are_taken() -> None:
    nothing = [Contribution(np.zeros((2, 3), np.float32), 10) for _ in range(5)]
    assert not aligned(nothing).any()
    one = [Contribution(np.ones((2, 3), np.float32), 10)]
    assert aligned(one, AveragingPolicy(robust=Robust.ALIGNED)) == pytest.approx(np.ones(6))
