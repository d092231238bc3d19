"""Projection and selection of features, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from converter.features.data import training_data
from converter.features.selection import f_scores, mutual_information, principal_components, selected_components
from headway.errors import ConfigError
from tests.arrays import assert_close, assert_same
from tests.optional import when_used

feature_selection = when_used("sklearn.feature_selection")
decomposition = when_used("sklearn.decomposition")
RANDOM = np.random.default_rng(0)
Y = np.arange(300) % 3
X = (RANDOM.normal(size=(300, 7)) + np.outer(Y, [3, 0, 1, 0, 0.2, 0, 2])).astype(np.float32)


def test_f_scores_are_those_of_one_way_anova() -> None:
    expected, _ = feature_selection.f_classif(X.astype(np.float64), Y)
    assert_close(f_scores(X, training_data(X, Y)), expected)


def test_f_scores_of_values_are_those_of_a_linear_fit() -> None:
    target = X[:, 0] * 2 + X[:, 3] + 0.25
    expected, _ = feature_selection.f_regression(X.astype(np.float64), target.astype(np.float64))
    assert_close(f_scores(X, training_data(X, target)), expected, rtol=1e-4)


def test_mutual_information_ranks_what_tells_the_classes_apart() -> None:
    scores = mutual_information(X, Y)
    assert scores.argsort()[::-1][:2].tolist() == [0, 6]
    assert scores[0] <= np.log(3)
    assert scores.min() >= 0


def test_principal_components_are_those_of_scikit_learn_with_a_fixed_sign() -> None:
    mean, components = principal_components(X, 3)
    fitted = decomposition.PCA(3, svd_solver="full").fit(X.astype(np.float64))
    assert_close(mean, fitted.mean_, atol=1e-5)
    assert_close(np.abs(components.T), np.abs(fitted.components_), atol=1e-4)
    np.testing.assert_array_less(0, components[np.abs(components).argmax(axis=0), np.arange(3)])


@pytest.mark.parametrize("by", ["f-score", "mutual-information"])
def test_selection_keeps_columns_as_they_are(by: str) -> None:
    mean, components = selected_components(X, training_data(X, Y), 3, by)
    assert_same((X - mean) @ components, X[:, [0, 2, 6]])


def test_mutual_information_needs_labels() -> None:
    with pytest.raises(ConfigError, match="use f-score"):
        selected_components(X, training_data(X, X[:, 0]), 2, "mutual-information")
