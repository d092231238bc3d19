"""Targets as codes, and the regression that is solved from their integer sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headway.errors import LocalError
from headway.maths.head import HeadKind
from headway.maths.statistics import SAMPLES_MAX, Statistics, merge
from headway.maths.target_codes import STEPS_MAX, WINDOWS, TargetCodes
from headway.maths.target_posterior import TargetPosterior, TargetPrior, fleet_target_head, inputs_of
from headway.maths.task import Task
from tests.arrays import assert_close, assert_same

SPACE = "s" * 64


def samples(count: int, seed: int = 0, outputs: int = 2):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    codes = random.integers(-127, 128, (count, 5)).astype(np.int8)
    weights = np.random.default_rng(7).normal(size=(5, outputs))
    targets = codes @ weights + [1000.0, -3.0][:outputs] + random.normal(0, 5, (count, outputs))
    return codes, targets.astype(np.float32)


def test_targets_survive_coding_within_half_a_step() -> None:
    _, targets = samples(300)
    codes = TargetCodes.fit(targets, Task.REGRESSION)
    wide = np.concatenate([targets, targets[:1] * np.nan, [[1e9, -1e9]]]).astype(np.float32)
    rows = codes.rows(np.zeros((len(wide), 1), np.int8), wide)
    assert rows.dtype == np.int8
    assert rows.shape[1] == 1 + codes.width
    assert np.abs(rows).max() <= 127
    again = codes.targets(rows)
    assert (np.abs(again[:300] - targets) <= 0.5001 * codes.scale + 1e-4).all()
    assert np.isnan(again[300]).all()
    assert_close(again[301], codes.offset + codes.scale * np.array([STEPS_MAX, -STEPS_MAX]), rtol=1e-6)


def test_labels_of_zero_and_one_are_exact() -> None:
    targets = np.array([[0, 1], [1, np.nan]], np.float32)
    codes = TargetCodes.fit(np.array([[0.0, 1.0]], np.float32), Task.MULTI_LABEL)
    again = codes.targets(codes.rows(np.zeros((2, 1), np.int8), targets))
    assert_same(np.isnan(again), np.isnan(targets))
    assert_close(np.nan_to_num(again), np.nan_to_num(targets), atol=1e-7)


def test_sums_are_those_of_the_targets() -> None:
    codes, targets = samples(200)
    targets[::3, 1] = np.nan
    coded = TargetCodes.fit(np.nan_to_num(targets), Task.REGRESSION)
    rows = coded.rows(codes, targets)
    steps = np.rint((coded.targets(rows) - coded.offset) / coded.scale.astype(np.float64))
    moments = coded.moments(coded.statistics(codes, targets, SPACE))
    inputs, known = inputs_of(rows, 5), np.isfinite(steps)
    filled = np.where(known, steps, 0.0)
    assert_same(moments.cross, inputs.T @ filled)
    assert_same(moments.squares, (filled**2).sum(axis=0))
    assert_same(moments.known, inputs.T @ known)
    assert_same(moments.gram_where_known(0), inputs.T @ inputs)
    part = moments.gram_where_known(1)
    assert_close(part[-1], (inputs[known[:, 1]].T @ inputs[known[:, 1]])[-1], rtol=1e-12)


def test_no_sum_can_overflow() -> None:
    """The largest tables that statistics may have, of 2^40 samples with the largest codes and targets."""
    codes = TargetCodes(np.zeros(1, np.float32), np.ones(1, np.float32), 2)
    row = codes.rows(np.array([[127]], np.int8), np.array([[STEPS_MAX]], np.float32))
    one = Statistics.of(row, np.zeros(1, np.int64), WINDOWS, SPACE)
    most = Statistics(one.gram * SAMPLES_MAX, one.class_sums * SAMPLES_MAX, WINDOWS, SPACE)
    moments = codes.moments(most)
    assert float(moments.cross[0, 0]) == 127 * STEPS_MAX * SAMPLES_MAX
    assert float(moments.squares[0]) == pytest.approx(float(STEPS_MAX) ** 2 * SAMPLES_MAX, rel=1e-15)
    assert codes.inconsistency(most) is None


def test_tables_add_in_any_order_and_part_again_to_the_bit() -> None:
    codes, targets = samples(240)
    targets[::5, 0] = np.nan
    coded = TargetCodes.fit(np.nan_to_num(targets), Task.REGRESSION)
    whole = coded.statistics(codes, targets, SPACE)
    parts = [coded.statistics(codes[i::7], targets[i::7], SPACE) for i in range(7)]
    assert merge(parts[::-1]) == whole == merge(parts)
    assert whole - parts[3] == merge([*parts[:3], *parts[4:]])


def test_what_no_rows_can_have_made_is_found() -> None:
    codes, targets = samples(50)
    targets[::4, 0] = np.nan
    coded = TargetCodes.fit(np.nan_to_num(targets), Task.REGRESSION)
    good = coded.statistics(codes, targets, SPACE)
    assert coded.inconsistency(good) is None
    end = good.size
    for row, column in ((end - 2, end - 2), (5, end - 2), (5, 5), (0, end - 1)):
        gram = good.gram.copy()
        gram[row, column] += 1 << 40
        gram[column, row] = gram[row, column]
        assert coded.inconsistency(replace(good, gram=gram)) is not None, (row, column)
    assert coded.inconsistency(replace(good, classes=("other",))) is not None


def test_bad_scales_are_refused() -> None:
    with pytest.raises(LocalError, match="scales"):
        TargetCodes(np.zeros(1, np.float32), np.zeros(1, np.float32), 2)
    with pytest.raises(LocalError, match="digits"):
        TargetCodes(np.zeros(1, np.float32), np.ones(1, np.float32), 3)
    flat = TargetCodes.fit(np.full((4, 1), 5.0, np.float32), Task.REGRESSION)
    assert flat.scale[0] > 0


@pytest.mark.parametrize("missing", [False, True])
def test_leaving_one_out_is_solving_without_it(missing: bool) -> None:
    codes, targets = samples(30, seed=1)
    if missing:
        targets[:, 1] = np.nan  # of one output nothing is known
    coded = TargetCodes.fit(samples(300)[1], Task.REGRESSION)
    prior = TargetPrior.of(coded.moments(coded.statistics(*samples(300), SPACE)))
    rows = coded.rows(codes, targets)
    steps = (coded.targets(rows) - coded.offset) / coded.scale.astype(np.float64)
    inputs = inputs_of(rows, 5)

    def solved(keep):  # type: ignore[no-untyped-def]
        moments = coded.moments(coded.statistics(codes[keep], targets[keep], SPACE))
        return TargetPosterior(prior, moments, {"trained": prior.weights}, 2.0, 5.0)

    left = solved(slice(None)).leave_one_out(inputs, steps)[0]
    for row in (0, 11, 29):
        without = solved(np.arange(30) != row).weights()[0]
        assert_close(left[row], inputs[row] @ without, rtol=1e-7)


def test_following_is_solving_anew() -> None:
    codes, targets = samples(40, seed=2)
    coded = TargetCodes.fit(samples(300)[1], Task.REGRESSION)
    prior = TargetPrior.of(coded.moments(coded.statistics(*samples(300), SPACE)))
    rows = coded.rows(codes, targets)
    steps = (coded.targets(rows) - coded.offset) / coded.scale.astype(np.float64)

    def solved(count: int) -> TargetPosterior:
        moments = coded.moments(coded.statistics(codes[:count], targets[:count], SPACE))
        return TargetPosterior(prior, moments, {"trained": prior.weights, "zero": 0 * prior.weights}, 2.0, 5.0)

    followed = solved(10)
    for row in range(10, 40):
        followed.add(inputs_of(rows[row : row + 1], 5)[0], steps[row])
    assert_close(followed.weights(), solved(40).weights(), rtol=1e-6)


def test_a_fleets_head_is_the_least_squares_fit() -> None:
    codes, targets = samples(3000)
    coded = TargetCodes.fit(targets, Task.REGRESSION)
    tables = coded.statistics(codes, targets, SPACE)
    halves = [coded.statistics(codes[half::2], targets[half::2], SPACE) for half in (0, 1)]
    head = fleet_target_head(*halves, coded, ("a", "b"), 1e-6)
    assert tables.samples == 3000
    expected = np.linalg.lstsq(np.c_[codes.astype(float), np.ones(3000)], targets.astype(float), rcond=None)[0]
    assert head.kind is HeadKind.LINEAR
    assert_close(head.kernel, expected[:-1], atol=1e-3)
    assert_close(head.bias, expected[-1], rtol=1e-3)


def test_log_odds_are_those_of_a_discriminant() -> None:
    """Two Gaussians of one covariance: what the regression gives is their true log-odds."""
    random = np.random.default_rng(3)
    truth = random.random(20000) < 0.3
    codes = np.clip(np.rint(random.normal(0, 20, (20000, 5)) + 14.0 * truth[:, None] * [1, 0, -1, 0, 0]), -127, 127)
    targets = truth[:, None].astype(np.float32)
    coded = TargetCodes.fit(targets, Task.MULTI_LABEL)
    tables = coded.statistics(codes.astype(np.int8), targets, SPACE)
    empty = Statistics.zeros(tables.size, WINDOWS, SPACE)
    head = fleet_target_head(tables, empty, coded, ("a",), 1e-6)
    assert head.kind is HeadKind.SIGMOID
    assert_close(head.kernel[:, 0], np.array([14, 0, -14, 0, 0]) / 20.0**2, atol=4e-3)
    bias = np.log(0.3 / 0.7) - 0.5 * 2 * 14.0**2 / 20**2
    assert_close(head.bias, [bias], atol=0.05)
