"""Forgetting on more than 20,000 real flights: destinations rest for weeks, labels are late, and nothing blows up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter import Options, convert_data
from headway.arrays import AnyArray
from recipes import flights
from recipes.learning import Ours, follow

pytestmark = pytest.mark.slow
FACTOR, LABELS_MIN = 0.99, 20_000


def plain(x: AnyArray, y: AnyArray) -> tuple[float, float]:
    """Recursive least squares with a forgetting factor, on standardised columns: its largest error, in minutes, and the
    largest entry of its covariance, over all rows that it gets through before a value is no longer finite.
    """
    width = x.shape[1] + 1
    covariance, weights = np.eye(width) * 100.0, np.zeros(width)
    error = grown = 0.0
    with np.errstate(all="ignore"):
        for row, truth in zip(np.column_stack([x, np.ones(len(x))]).astype(np.float64), y, strict=True):
            off = truth - row @ weights
            gain = covariance @ row / (FACTOR + row @ covariance @ row)
            weights, covariance = weights + gain * off, (covariance - np.outer(gain, row @ covariance)) / FACTOR
            if not (np.isfinite(weights).all() and np.isfinite(covariance).all()):
                return np.inf, np.inf
            error, grown = max(error, abs(off)), max(grown, float(np.abs(covariance).max()))
    return error, grown


def test_twenty_thousand_real_flights_stay_finite_and_sane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "EVERY_DAYS", 4)
    try:
        x, minutes, _, left_s, landed_s, known = flights.load()
    except FileNotFoundError as error:
        pytest.skip(f"{error} is not at hand")
    bundle = tmp_path / "flights.hwb"
    convert_data((x[known], minutes[known]), Options(task="regression"), out=bundle)
    later, truth = x[~known], minutes[~known]
    assert len(later) > LABELS_MIN
    ours = Ours(bundle, later, truth)
    answers = follow(ours, np.arange(len(later)), np.searchsorted(left_s[~known], landed_s[~known]))
    error = np.abs(answers - truth)
    assert np.isfinite(answers).all()
    assert 0 < answers.min() < answers.max() < 720  # minutes that a flight within the country can take
    assert error.mean() < 10
    parts = np.array([part.mean() for part in np.array_split(error, 20)])
    assert parts.max() < 2 * parts.min() + 5  # no part of the year is lost
    print(f"{len(later)} labels: mean {error.mean():.2f}, largest {error.max():.0f} minutes; parts {parts.round(1)}")
    # the stress is real: the plain rule, on the same rows, at once and in order, is off by hours or worse
    spread = np.where(x[known].std(axis=0) > 0, x[known].std(axis=0), 1)
    worst, grown = plain((later - x[known].mean(axis=0)) / spread, truth)
    print(f"plain: largest error {worst:.3g} minutes, covariance {grown:.3g}")
    assert grown > 1e6
