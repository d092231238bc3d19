"""The closed-form heads against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from headway.errors import LocalError
from headway.maths.solve import (
    INVERSE_LEAF,
    blend,
    definite_inverse,
    fleet_head,
    lda_head,
    shrunk_covariance,
)
from headway.maths.statistics import Statistics
from tests.arrays import assert_close, assert_same

CLASSES = ("a", "b", "c", "d")


def blobs(count: int = 800, size: int = 10, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    centres = random.normal(0, 25, (4, size))
    mixing = random.normal(0, 8, (size, size))
    values = centres[labels] + random.normal(0, 1, (count, size)) @ mixing
    return np.clip(np.rint(values), -127, 127).astype(np.int8), labels


def test_lda_is_scikit_learns() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    codes, labels = blobs()
    moments = blend([(1.0, Statistics.of(codes, labels, CLASSES, "s"))])
    covariance = shrunk_covariance(moments.within_scatter(), len(codes), 0.0)
    priors = moments.counts / moments.counts.sum()
    head = lda_head(covariance, moments.means(), priors, CLASSES)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(codes.astype(float), labels)
    expected = oracle.predict_proba(codes.astype(float))
    assert_close(head.probabilities(codes.astype(np.float32)), expected, atol=2e-3)


def definite(size: int, condition: float) -> tuple[np.ndarray, np.ndarray]:
    """A definite matrix and its inverse, with eigenvalues spread over `condition`."""
    axes, _ = np.linalg.qr(np.random.default_rng(size).normal(size=(size, size)))
    spread = np.geomspace(condition**-0.5, condition**0.5, size)
    matrix = (axes * spread) @ axes.T
    return 0.5 * (matrix + matrix.T), (axes / spread) @ axes.T


@pytest.mark.parametrize("size", [1, 3, INVERSE_LEAF, INVERSE_LEAF + 1, 200, 321])
@pytest.mark.parametrize("condition", [1e2, 1e5, 1e8, 1e12])
def test_the_inverse_of_a_definite_matrix(size: int, condition: float) -> None:
    matrix, expected = definite(size, condition)
    before = matrix.copy()
    found = definite_inverse(matrix)
    assert_same(matrix, before)
    error = np.abs(found - expected).max() / np.abs(expected).max()
    general = np.abs(np.linalg.inv(matrix) - expected).max() / np.abs(expected).max()
    assert error < max(1e-6, 2 * general), "as good as the general inverse, or good enough for a float32 head"


def test_an_inverse_by_halves_that_is_not_good_enough_is_made_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    general: list[int] = []
    inv = np.linalg.inv
    monkeypatch.setattr(np.linalg, "inv", lambda matrix: [general.append(len(matrix)), inv(matrix)][1])
    for condition, whole in ((1e3, False), (1e12, True)):
        general.clear()
        definite_inverse(definite(321, condition)[0])
        assert (321 in general) == whole


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        definite_inverse(np.zeros((200, 200)))


def test_a_class_without_samples_is_never_predicted() -> None:
    codes, labels = blobs()
    seen = labels != 2
    source = Statistics.of(codes[seen], labels[seen], CLASSES, "s")
    head = fleet_head(source, Statistics.zeros(10, CLASSES, "s"))
    predicted = head.logits(codes.astype(np.float32)).argmax(axis=1)
    assert 2 not in predicted
    assert (predicted[seen] == labels[seen]).mean() > 0.9


def test_weights_of_a_blend_act_like_repetition() -> None:
    codes, labels = blobs(60)
    table = Statistics.of(codes, labels, CLASSES, "s")
    twice = blend([(1.0, table + table)])
    assert_same(blend([(2.0, table)]).gram, twice.gram)


def test_blend_of_nothing_is_refused() -> None:
    with pytest.raises(LocalError, match="at least one"):
        blend([])
