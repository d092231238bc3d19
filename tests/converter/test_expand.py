"""Random features, and the choice of how many: no leak, none where nothing is gained, the input where it helps."""

from __future__ import annotations

import numpy as np
import pytest

from converter.features.data import TrainingData, training_data
from converter.features.expand import _chosen, _drifted, choose_expansion, random_expansion, time_blocks
from headway.errors import ConfigError
from tests.arrays import assert_close, assert_same

NO_PROJECTION = (None, None)


def test_directions_are_of_the_standardised_values() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 5)).astype(np.float32)
    scaled = x * np.float32(1000) + np.float32(7)
    plain = random_expansion(x, x, 16, True, seed=1)
    moved = random_expansion(scaled, scaled, 16, True, seed=1)
    assert_close(plain.apply(x), moved.apply(scaled), atol=1e-3)
    assert (plain.apply(x) > 0).mean() == pytest.approx(0.5, abs=0.15)


def test_a_channel_that_never_moves_has_no_weight() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    x[:, 1] = 4.0
    made = random_expansion(x, x, 8, True, seed=0)
    np.testing.assert_array_equal(made.weights[1], 0)
    np.testing.assert_array_equal(np.isfinite(made.bias), True)


def test_blocks_are_contiguous_in_time_within_each_class() -> None:
    labels = np.array([0, 1] * 50)
    blocks, rows = time_blocks(labels)
    assert rows is not None
    np.testing.assert_array_less(rows[:-1], rows[1:])
    for label in (0, 1):
        own = blocks[labels[rows] == label]
        assert_same(own, np.sort(own))
        assert np.bincount(own).tolist() == [10] * 5


def test_drift_walks_away_and_comes_from_the_seed() -> None:
    x = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    first, again = _drifted(x, np.random.default_rng(1)), _drifted(x, np.random.default_rng(1))
    for one, other in zip(first, again, strict=True):
        assert_same(one, other)
    distances = [float(np.abs(moved - x).mean()) for moved in first]
    assert 0 < distances[0] < distances[-1]


def test_nothing_held_out_is_fitted_on() -> None:
    """The projection, which may look at labels, only ever sees rows of the other blocks."""
    x, y = _rings(200)
    seen: list[int] = []

    def project(rows: np.ndarray, data: TrainingData) -> tuple[None, None]:
        seen.append(len(rows))
        assert len(data.y) == len(rows) == len(data.x)
        return NO_PROJECTION

    choose_expansion(x, x, training_data(x, y), lambda inputs: inputs, project, seed=0)
    assert seen == [160] * 5


def _rings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes told apart by their distance from the middle: nothing a linear head can do."""
    random = np.random.default_rng(3)
    y = np.arange(count) % 2
    angle = random.uniform(0, 2 * np.pi, count)
    radius = 1.0 + 2.0 * y + random.normal(0, 0.1, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), y


def test_features_are_added_where_a_linear_head_fails() -> None:
    x, y = _rings(400)
    choice = choose_expansion(x, x, training_data(x, y), lambda inputs: inputs, lambda r, d: NO_PROJECTION, seed=0)
    assert choice.count >= 64
    assert choice.reason.startswith(f"{choice.count} of the ")
    assert "none " in choice.reason


def test_the_input_is_expanded_where_the_backbone_threw_it_away() -> None:
    x, y = _rings(400)
    blind = lambda inputs: inputs[:, :1].copy()  # noqa: E731 - a backbone that keeps half of what matters
    choice = choose_expansion(blind(x), x, training_data(x, y), blind, lambda r, d: NO_PROJECTION, seed=0)
    assert choice.of_input


def test_noise_gets_features_of_the_input_at_most() -> None:
    x = np.random.default_rng(0).normal(size=(600, 6)).astype(np.float32)
    y = np.arange(600) % 3
    choice = choose_expansion(x, x, training_data(x, y), lambda inputs: inputs, lambda r, d: NO_PROJECTION, seed=0)
    assert choice.count == 0 or choice.of_input


def test_of_what_cannot_be_told_apart_the_input_is_preferred() -> None:
    candidates = [(0, False), (64, False), (64, True), (192, False), (192, True)]
    same = np.full(5, 0.9)
    worse = np.full(5, 0.5)
    assert _chosen(candidates, np.array([worse, same, same, same, same])).count == 192
    assert _chosen(candidates, np.array([worse, same, same, same, same])).of_input
    assert _chosen(candidates, np.array([worse, same, worse, same, worse])).count == 64
    assert _chosen(candidates, np.array([same, same, worse, same, worse])).count == 0
    unsure = np.array([0.7, 0.9, 0.8, 0.9, 0.8])
    close = np.array([0.8, 0.8, 0.9, 0.8, 0.9])
    assert _chosen(candidates, np.array([unsure, worse, worse, worse, close])).of_input
    assert _chosen(candidates, np.array([unsure, worse, worse, close, worse])).count == 0


def test_too_few_windows_or_no_labels_are_said() -> None:
    x = np.zeros((12, 2), np.float32)
    data = training_data(x, np.arange(12) % 2)
    choice = choose_expansion(x, x, data, lambda inputs: inputs, lambda r, d: NO_PROJECTION, seed=0)
    assert (choice.count, choice.reason.split(",")[0]) == (0, "none: a class has fewer than 10 windows")
    values = training_data(x, np.arange(12) + 0.5)
    with pytest.raises(ConfigError, match="needs one label per sample"):
        choose_expansion(x, x, values, lambda inputs: inputs, lambda r, d: NO_PROJECTION, seed=0)
