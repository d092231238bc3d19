"""Errors of values that last are learned and answered with where it pays, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.learner import Prediction
from edge_agent.persistence.errors import LastingErrors
from edge_agent.pipeline import Features
from headway.arrays import Float32

SCALE = np.array([1.0, 1e6], np.float32)


def stream(rows: int, rho: float, seed: int = 0) -> tuple[Float32, Float32]:
    """What a head says, and the values: its errors are an autoregression of order 1, of two outputs."""
    random = np.random.default_rng(seed)
    said = random.normal(size=(rows, 2)) * 3
    errors = np.zeros((rows, 2))
    for row in range(1, rows):
        errors[row] = rho * errors[row - 1] + random.normal(size=2)
    return (said * SCALE).astype(np.float32), ((said + errors) * SCALE).astype(np.float32)


def features(number: int) -> Features:
    return Features(np.zeros((1, 1), np.float32), np.array([[number]], np.int64).view(np.int8))


def answers(lasting: LastingErrors, said: Float32, values: Float32, every: int = 1, late: int = 0) -> Float32:
    given = []
    for row in range(len(said)):
        given.append(lasting.serve(features(row), Prediction(said[row : row + 1], "exact")).probability[0])
        if row >= late and (row - late) % every == 0:
            lasting.labelled(features(row - late), values[row - late])
    return np.array(given)


def error(given: Float32, values: Float32) -> float:
    return float((np.abs(given - values) / SCALE).mean())


@pytest.mark.parametrize(("rho", "gain"), [(0.7, 0.15), (0.9, 0.4), (0.99, 0.7)])
def test_errors_that_last_are_taken_out_of_what_comes_next(rho: float, gain: float) -> None:
    said, values = stream(1500, rho)
    lasting = LastingErrors()
    given = answers(lasting, said, values)
    assert error(given[500:], values[500:]) < (1 - gain) * error(said[500:], values[500:])
    assert lasting.serving


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_whose_errors_say_nothing_is_answered_as_the_head_does(seed: int) -> None:
    said, values = stream(1500, 0.0, seed)
    given = answers(LastingErrors(), said, values)
    assert error(given, values) < 1.003 * error(said, values)


@pytest.mark.parametrize(("every", "late"), [(1, 100), (1, 20), (40, 0)])
def test_labels_that_come_too_late_or_seldom_for_it_cost_nothing(every: int, late: int) -> None:
    said, values = stream(2000, 0.8)
    given = answers(LastingErrors(), said, values, every, late)
    assert error(given, values) < 1.003 * error(said, values)


def test_it_ends_when_errors_stop_to_last() -> None:
    lasting_said, lasting_values = stream(600, 0.9)
    said, values = stream(1500, 0.0, seed=1)
    said, values = np.concatenate([lasting_said, said]), np.concatenate([lasting_values, values])
    given = answers(LastingErrors(), said, values)
    assert error(given[-500:], values[-500:]) < 1.003 * error(said[-500:], values[-500:])


def test_unknown_values_leave_their_output_as_it_was() -> None:
    said, values = stream(800, 0.9)
    values[:, 1] = np.nan
    given = answers(LastingErrors(), said, values)
    np.testing.assert_array_equal(given[:, 1], said[:, 1])
    assert np.abs(given[400:, 0] - values[400:, 0]).mean() < 0.7 * np.abs(said[400:, 0] - values[400:, 0]).mean()


def test_values_of_any_size_give_finite_answers() -> None:
    said, values = stream(300, 0.9)
    values[::7] = np.float32(3e38)
    values[::11] = np.float32(-3e38)
    values[1::13] = 0.0
    assert np.isfinite(answers(LastingErrors(), said, values)).all()


def test_a_label_counts_once_and_one_for_a_window_long_ago_tells_nothing() -> None:
    said, values = stream(400, 0.9)
    once, twice = LastingErrors(), LastingErrors()
    for row in range(len(said)):
        served = Prediction(said[row : row + 1], "exact")
        np.testing.assert_array_equal(
            once.serve(features(row), served).probability, twice.serve(features(row), served).probability
        )
        once.labelled(features(row), values[row])
        twice.labelled(features(row), values[row])
        twice.labelled(features(row), -values[row])
        twice.labelled(features(row - 300), -values[row])
    assert once.serving
