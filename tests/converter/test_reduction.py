"""Wide embeddings are reduced by default where held-out windows are answered as well, and the report says why."""

from __future__ import annotations

import numpy as np
import pytest

from converter.features import fit_features, fit_preprocessing
from converter.features.data import TrainingData, training_data
from converter.features.expand import Embed
from converter.features.reduction import choose_reduction
from converter.options import BY_MODEL, COMPARED, Options
from headway.arrays import Float32
from headway.errors import ConfigError

WIDE, ROWS, CLASSES = 450, 1500, ("a", "b", "c")
Y = np.arange(ROWS) % len(CLASSES)


def wide(signal_last: bool = False) -> Float32:
    """450 features around 20 directions; what tells the classes apart is large, or smaller than everything else."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(WIDE, WIDE)))[0]
    spread = np.linspace(3, 2, WIDE) if signal_last else np.geomspace(9, 0.01, WIDE)
    values = random.normal(size=(ROWS, WIDE)) * spread
    at = WIDE - 3 if signal_last else 0
    values[:, at : at + 3] = 0.2 * random.normal(size=(ROWS, 3)) + 2 * np.eye(3)[Y]
    return np.asarray(values @ basis.T, np.float32)


def data(x: Float32) -> TrainingData:
    return training_data(x, Y, CLASSES)


def test_a_wide_embedding_keeps_as_few_components_as_answer_as_well() -> None:
    chosen = choose_reduction(wide(), data(wide()))
    assert chosen.count == 256
    assert chosen.reason.startswith("256 of 450: at most 0.2 points below all of them")


def test_nothing_is_left_out_where_the_small_directions_tell_the_classes_apart() -> None:
    chosen = choose_reduction(wide(signal_last=True), data(wide(signal_last=True)))
    assert chosen.count == 0
    assert "lose more than 0.2 points" in chosen.reason


def test_embeddings_of_usual_size_and_few_windows_stay_as_they_are() -> None:
    narrow = wide()[:, :400]
    assert choose_reduction(narrow, data(narrow)).reason == ""
    few = wide()[:12]
    chosen = choose_reduction(few, training_data(few, Y[:12], CLASSES))
    assert chosen.count == 0
    assert "too few to compare" in chosen.reason


def test_regressions_are_judged_by_the_variance_that_is_explained() -> None:
    x = wide()
    targets = np.sin(Y)[:, None].astype(np.float32)
    regression = TrainingData(x, np.full(ROWS, -1), ("value",), targets)
    assert choose_reduction(x, regression).count == 256


def fitted_sizes(options: Options, x: Float32, embed: Embed = lambda rows: rows.reshape(len(rows), -1)) -> int:
    """Features of a bundle whose embedding is the window itself."""
    given = data(x)
    made = fit_preprocessing(given, x.shape[1:], options)
    embedding = x.reshape(len(x), -1)
    return fit_features(embedding, x, given, options, made, "0" * 64, embed).features.size


@pytest.mark.parametrize(
    ("options", "size"),
    [(Options(expand=0), 256), (Options(expand=0, pca=0), 450), (Options(expand=0, pca=9), 9),
     (Options(expand=0, select=7), 7)],
)  # fmt: skip
def test_what_was_asked_for_goes_before_what_is_chosen(options: Options, size: int) -> None:
    assert fitted_sizes(options, wide()) == size


def test_rows_of_sensor_values_are_compared_with_random_features_and_series_are_not() -> None:
    """Classes lie on rings, which no linear head tells apart, so that random features gain wherever they are asked."""
    random = np.random.default_rng(2)
    angle, radius = random.uniform(0, 2 * np.pi, ROWS), 1 + Y
    rows = np.stack([np.cos(angle) * radius, np.sin(angle) * radius, random.normal(size=ROWS)], axis=1)
    rows = rows.astype(np.float32)

    def size(options: Options, x: Float32) -> int:
        given = data(x)
        made = fit_preprocessing(given, x.shape[1:], options)

        def embed(values: Float32) -> Float32:
            return values.reshape(len(values), -1)[:, :2]

        return fit_features(embed(x), x, given, options, made, "0" * 64, embed).features.size

    assert Options().expand == BY_MODEL
    assert size(Options(), rows) == 2 + 192
    assert size(Options(), rows[:, :, None]) == 2
    assert size(Options(expand=COMPARED), rows[:, :, None]) > 2
    assert size(Options(expand=0), rows) == 2


def test_a_count_below_zero_that_has_no_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="--expand -3 must be auto, by-model, or 0 to 65,536"):
        Options(expand=-3)
    with pytest.raises(ConfigError, match="--pca -2 must be auto, or 0 to 65,536"):
        Options(pca=-2)
