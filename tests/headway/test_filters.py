"""Filters along time are what others compute, and go through a bundle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headway.bundle.container import decode_container
from headway.bundle.variant import decode_variant
from headway.maths import Denoise, Missing, Preprocessing, TimeAxis
from headway.maths.filters import butterworth, interpolated
from tests.headway.bundles import small_variant

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize("cutoff", [0.02, 0.2, 0.45])
def test_passes_are_the_butterworth_filters_of_scipy(cutoff: float, high: bool) -> None:
    signal = pytest.importorskip("scipy.signal")
    x = RANDOM.normal(3, 1, (4, 60, 2)).astype(np.float32)
    b, a = signal.butter(2, 2 * cutoff, "high" if high else "low")
    begun = signal.lfilter_zi(b, a)[:, None, None] * x[:, 0][None].transpose(0, 1, 2)
    expected, _ = signal.lfilter(b, a, x.astype(np.float64), axis=1, zi=begun.transpose(1, 0, 2))
    assert np.abs(butterworth(x, cutoff, high=high) - expected).max() < 1e-5


def test_a_constant_passes_low_and_not_high() -> None:
    x = np.full((1, 30, 1), 7.0, np.float32)
    assert butterworth(x, 0.1) == pytest.approx(7.0)
    assert butterworth(x, 0.1, high=True) == pytest.approx(0.0, abs=1e-5)


def test_gaps_are_filled_as_numpy_interpolates() -> None:
    x = RANDOM.normal(size=(50, 20, 3)).astype(np.float32)
    missing = RANDOM.random(x.shape) < 0.4
    missing[0, :, 1] = True  # nothing to go by
    found = interpolated(np.where(missing, np.nan, x), missing)
    for row in range(50):
        for channel in range(3):
            known = np.flatnonzero(~missing[row, :, channel])
            if not len(known):
                assert np.isnan(found[row, :, channel]).all()
                continue
            expected = np.interp(np.arange(20), known, x[row, known, channel].astype(np.float64))
            assert found[row, :, channel] == pytest.approx(expected, abs=1e-6)


def test_gaps_outliers_and_passes_in_their_order() -> None:
    made = Preprocessing(
        (4, 1), np.array([9.0], np.float32), missing=Missing.LINEAR, low=np.array([-1.0], np.float32),
        high=np.array([2.0], np.float32), denoise=Denoise.LOW_PASS, cutoff=0.25,
    )  # fmt: skip
    x = np.array([[[0.0], [np.nan], [100.0], [np.nan]]], np.float32)
    applied, missing = made.apply(x)
    assert missing == 2
    assert applied == pytest.approx(butterworth(np.array([[[0.0], [2.0], [2.0], [2.0]]], np.float32), 0.25))


def test_time_may_be_the_last_axis() -> None:
    fill = np.zeros(2, np.float32)
    first = Preprocessing((30, 2), fill, denoise=Denoise.HIGH_PASS, cutoff=0.1, missing=Missing.LINEAR)
    last = Preprocessing((2, 30), fill, denoise=Denoise.HIGH_PASS, cutoff=0.1, missing=Missing.LINEAR,
                         time_axis=TimeAxis.LAST)  # fmt: skip
    x = RANDOM.normal(size=(5, 30, 2)).astype(np.float32)
    assert (first.apply(x)[0] == last.apply(x.swapaxes(1, 2))[0].swapaxes(1, 2)).all()


def test_a_bundle_carries_them_and_older_ones_stay_as_they_were() -> None:
    plain = small_variant()
    bounds = np.array([-1.0, -2.0], np.float32)
    made = replace(plain.preprocessing, missing=Missing.LINEAR, denoise=Denoise.HIGH_PASS, cutoff=0.125, low=bounds,
                   high=-bounds)  # fmt: skip
    read = decode_variant(decode_container(replace(plain, preprocessing=made).encode())).preprocessing
    assert (read.missing, read.denoise, read.cutoff) == (Missing.LINEAR, Denoise.HIGH_PASS, 0.125)
    assert read.low is not None
    assert (read.low == bounds).all()
    assert b"cutoff" not in plain.encode()
