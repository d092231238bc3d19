"""Embedding -> int8 codes: rounding, clipping, expansion, and the fingerprint that keeps tables apart."""

from __future__ import annotations

import numpy as np
import pytest

from headway.errors import DataError, LocalError
from headway.maths.features import Expansion, FeatureMap, calibrate_scale
from tests.arrays import assert_same


def test_codes_are_the_scaled_values_rounded_to_nearest() -> None:
    feature_map = FeatureMap(3, np.array([1.27, 12.7, 127.0], np.float32))
    codes, clipped = feature_map.codes(np.array([[0.5, -5.04, 200.0]], np.float32))
    assert codes.tolist() == [[50, -50, 127]]
    assert codes.dtype == np.int8
    assert clipped == 1


def test_input_is_left_alone() -> None:
    values = np.array([[0.5, -5.04, 200.0]], np.float32)
    before = values.copy()
    FeatureMap(3, np.ones(3, np.float32)).codes(values)
    assert_same(values, before)


@pytest.mark.parametrize("of_input", [False, True])
def test_expansion_appends_relu_features(of_input: bool) -> None:
    expansion = Expansion(np.array([[1.0, -1.0], [2.0, 0.0]], np.float32), np.array([0.5, 0.0], np.float32), of_input)
    feature_map = FeatureMap(2, np.ones(4, np.float32), expansion)
    embedding, inputs = np.array([[1.0, 1.0]], np.float32), np.array([[[2.0], [3.0]]], np.float32)
    expected = [1.0, 1.0, 8.5, 0.0] if of_input else [1.0, 1.0, 3.5, 0.0]
    assert feature_map.raw(embedding, inputs).tolist() == [expected]


def test_projection_comes_first() -> None:
    feature_map = FeatureMap(
        3, np.ones(1, np.float32), mean=np.ones(3, np.float32), components=np.array([[1.0], [2.0], [3.0]], np.float32)
    )
    assert feature_map.raw(np.array([[2.0, 2.0, 2.0]], np.float32)).tolist() == [[6.0]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(DataError, match="not finite"):
        FeatureMap(1, np.ones(1, np.float32)).codes(np.array([[value]], np.float32))


def test_sizes_must_agree() -> None:
    with pytest.raises(LocalError, match="3 entries, the map makes 2"):
        FeatureMap(2, np.ones(3, np.float32))


def test_scale_is_a_percentile_and_dead_features_stay_quiet() -> None:
    raw = np.random.default_rng(0).normal(0, [1.0, 10.0, 0.0], (5000, 3)).astype(np.float32)
    scale = calibrate_scale(raw)
    assert scale[0] == pytest.approx(np.percentile(np.abs(raw[:, 0]), 99.9))
    assert min(scale[:2]) <= scale[2] <= max(scale[:2])


def test_fingerprint_changes_with_everything_that_changes_codes() -> None:
    ones = np.ones(2, np.float32)
    weights, bias = np.ones((2, 1), np.float32), np.zeros(1, np.float32)
    wide = np.ones(3, np.float32)
    prints = {
        FeatureMap(2, ones).fingerprint("a"),
        FeatureMap(2, ones).fingerprint("b"),
        FeatureMap(2, ones * 2).fingerprint("a"),
        FeatureMap(2, wide, Expansion(weights, bias, True)).fingerprint("a"),
        FeatureMap(2, wide, Expansion(weights, bias, False)).fingerprint("a"),
        FeatureMap(2, wide, Expansion(weights * 2, bias, False)).fingerprint("a"),
    }
    assert len(prints) == 6
    assert FeatureMap(2, ones).fingerprint("a") == FeatureMap(2, ones.copy()).fingerprint("a")


@pytest.mark.parametrize(
    ("scale", "problem"), [(1e-45, "at least 1e-36"), (0.0, "positive and finite"), (np.inf, "positive and finite")]
)
def test_a_scale_that_codes_cannot_be_made_with_is_refused(scale: float, problem: str) -> None:
    with pytest.raises(LocalError, match=problem):
        FeatureMap(2, np.array([1.0, scale], np.float32))
