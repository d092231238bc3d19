"""What is fitted on the data: preprocessing constants, scales, tables, and the rows that are carried along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converter.features.data import training_data
from converter.features.fit import (
    Fitted,
    balanced_rows,
    evaluation_slice,
    fit_features,
    fit_preprocessing,
    fits_embedding,
    raw_windows,
    spread_rows,
)
from converter.options import Options
from headway.errors import ConfigError, DataError
from headway.maths.preprocessing import Denoise, Missing
from tests.arrays import assert_close, assert_same

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 8, 2)).astype(np.float32) * np.array([1, 10], np.float32) + np.array([5, 0], np.float32)
Y = np.arange(60) % 3
DATA = training_data(X, Y, ["a", "b", "c"])
HOLES = X.copy()
HOLES[4, 2, 0] = np.nan
HOLES[5, 3, 1] = np.inf


def test_missing_values_become_the_mean_or_median_of_what_was_measured() -> None:
    data = training_data(HOLES, Y)
    flat = np.where(np.isfinite(HOLES), HOLES, np.nan).reshape(-1, 2)
    mean = fit_preprocessing(data, (8, 2), Options())
    assert_close(mean.fill, np.nanmean(flat, axis=0), atol=1e-5)
    median = fit_preprocessing(data, (8, 2), Options(missing="median"))
    assert_close(median.fill, np.nanmedian(flat, axis=0), atol=1e-5)
    assert fit_preprocessing(data, (8, 2), Options(missing="last")).missing is Missing.LAST


def test_standardising_is_fitted_on_what_the_model_will_see() -> None:
    options = Options(standardise=True, denoise="median", median_width=5)
    made = fit_preprocessing(training_data(HOLES, Y), (8, 2), options)
    values, missing = made.apply(HOLES)
    assert made.denoise is Denoise.MEDIAN
    assert missing == 2
    assert_close(values.reshape(-1, 2).mean(axis=0), 0, atol=1e-5)
    assert_close(values.reshape(-1, 2).std(axis=0), 1, atol=1e-4)


def test_a_dead_channel_stays_finite() -> None:
    x = X.copy()
    x[:, :, 1] = np.nan
    made = fit_preprocessing(training_data(x, Y), (8, 2), Options(standardise=True))
    values, _ = made.apply(x)
    np.testing.assert_array_equal(np.isfinite(values), True)


@pytest.mark.parametrize("options", [Options(missing="last"), Options(denoise="ewma"), Options(denoise="median")])
def test_tables_have_no_time_to_smooth_along(options: Options) -> None:
    with pytest.raises(ConfigError, match="no time axis"):
        fit_preprocessing(training_data(X[:, 0], Y), (2,), options)


def test_carried_windows_are_raw_but_for_what_was_missing() -> None:
    made = fit_preprocessing(training_data(HOLES, Y), (8, 2), Options(standardise=True, denoise="ewma"))
    raw = raw_windows(HOLES, made)
    np.testing.assert_array_equal(np.isfinite(raw), True)
    assert_same(raw[np.isfinite(HOLES)], HOLES[np.isfinite(HOLES)])


def test_the_buffer_is_balanced_and_never_repeats_a_row() -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 3)
    rows = balanced_rows(training_data(X, labels, ["a", "b", "c"]), 5, 4096, seed=0)
    assert len(set(rows.tolist())) == len(rows)
    assert np.bincount(labels[rows]).tolist() == [5, 5, 3]
    np.testing.assert_array_less(rows[:-1], rows[1:])


def test_proof_rows_cover_every_class() -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 3)
    assert set(labels[spread_rows(training_data(X, labels, ["a", "b", "c"]), 20)]) == {0, 1, 2}


def test_the_evaluation_slice_is_bounded_in_bytes() -> None:
    made = fit_preprocessing(DATA, (8, 2), Options())
    held = evaluation_slice(DATA, made, Options(evaluation_rows=30))
    assert held is not None
    assert held.values.shape == (30, 8, 2)
    assert evaluation_slice(DATA, made, Options(evaluation_rows=0)) is None
    wide = training_data(np.zeros((40, 1 << 16, 1), np.float32) + Y[:40, None, None], Y[:40])
    cut = evaluation_slice(wide, fit_preprocessing(wide, (1 << 16, 1), Options()), Options())
    assert cut is not None
    assert cut.values.nbytes <= 1 << 20


def fit(options: Options, **changed: object) -> Fitted:
    made = fit_preprocessing(DATA, (8, 2), Options())
    embedding = X.reshape(60, -1)[:, :6].copy()
    data = replace(DATA, **changed)  # type: ignore[arg-type]
    return fit_features(embedding, X, data, options, made, "0" * 64, lambda rows: rows.reshape(len(rows), -1)[:, :6])


def test_codes_fill_their_range_and_tables_hold_every_row() -> None:
    fitted = fit(Options(expand=4, pca=3))
    assert fitted.codes.shape == (60, 7)
    assert np.abs(fitted.codes[:, :3].astype(int)).max(axis=0).tolist() == [127] * 3
    assert fitted.codes[:, 3:].min() >= 0
    assert fitted.statistics.samples == 60
    assert fitted.statistics.counts.tolist() == [20, 20, 20]
    assert fitted.buffer is not None
    assert fitted.buffer.values.dtype == np.int8


def test_the_space_names_everything_before_the_codes() -> None:
    spaces = {fit(Options(seed=seed, expand=4, pca=pca)).statistics.space for seed in (0, 1) for pca in (0, 3)}
    assert len(spaces) == 4
    assert fit(Options(expand=4)).statistics.space == fit(Options(expand=4)).statistics.space


def test_values_have_tables_of_their_targets_and_a_buffer() -> None:
    targets = RANDOM.normal(size=(60, 3)).astype(np.float32)
    fitted = fit(Options(), y=np.full(60, -1), targets=targets)
    assert fitted.targets is not None
    assert fitted.statistics == fitted.targets.statistics(fitted.codes, targets, fitted.statistics.space)
    assert fitted.targets.digits == 2
    assert fitted.buffer is not None
    assert fitted.buffer.targets is not None


def test_more_values_than_statistics_can_hold_have_a_buffer_only() -> None:
    targets = RANDOM.normal(size=(60, 200)).astype(np.float32)
    fitted = fit(Options(), y=np.full(60, -1), targets=targets)
    assert fitted.targets is None
    assert fitted.statistics.samples == 0
    assert fitted.buffer is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(pca=9), "9 features were asked for, the embedding has 8"),
        (Options(select=9), "9 features"),
        (Options(expand=4089), "4097 features are more than a device sums over"),
    ],
)
def test_impossible_sizes_are_known_before_anything_is_exported(options: Options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fits_embedding(options, 8)


def test_values_beyond_float32_are_missing_and_a_window_of_them_is_refused() -> None:
    loud = X.astype(np.float64)
    loud[4, 2, 0] = 1e300
    assert np.isfinite(fit_preprocessing(training_data(loud, Y), (8, 2), Options()).fill).all()
    loud[3] = 1e300
    with pytest.raises(DataError, match="sample 3 has no finite value"):
        training_data(loud, Y)
