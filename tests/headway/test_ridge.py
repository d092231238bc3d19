"""Ridge regression from tables: scikit-learn's, and leave-one-out is leaving one out."""

from __future__ import annotations

import numpy as np
import pytest

from headway.errors import LocalError
from headway.maths.head import log_softmax
from headway.maths.posterior import ABSENT
from headway.maths.ridge import LOGITS_PER_SCORE, PENALTY, Ridge
from headway.maths.statistics import Statistics
from tests.arrays import assert_close

CLASSES = ("a", "b", "c", "d")


def blobs(count: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    centres = np.random.default_rng(1).normal(0, 25, (4, 10))
    values = centres[labels] + random.normal(0, 15, (count, 10))
    return np.clip(np.rint(values), -127, 127).astype(np.int8), labels


def tables(codes: np.ndarray, labels: np.ndarray, classes: tuple[str, ...] = CLASSES) -> Statistics:
    return Statistics.of(codes, labels, classes, "s")


def test_it_is_scikit_learns_with_the_source_weighted() -> None:
    from sklearn.linear_model import Ridge as Oracle

    source, local = blobs(400, 2), blobs(30, 3)
    head = Ridge(tables(*source), tables(*local), worth=2.0).head()
    weights = np.concatenate([np.full(400, 2.0 * 4 / 400), np.ones(30)])
    codes = np.concatenate([source[0], local[0]]).astype(float)
    targets = np.eye(4)[np.concatenate([source[1], local[1]])]
    targets /= (weights[:, None] * targets).sum(axis=0)  # balanced: every class adds up to one
    penalty = PENALTY * float((weights[:, None] * codes**2).sum()) / 10
    oracle = Oracle(alpha=penalty).fit(codes, targets, sample_weight=weights)
    assert_close(head.kernel / LOGITS_PER_SCORE, oracle.coef_.T, atol=1e-6)
    assert_close(head.bias / LOGITS_PER_SCORE, oracle.intercept_, atol=1e-5)


@pytest.mark.parametrize("worth", [1.0, 10.0])
@pytest.mark.parametrize("count", [1, 2, 9, 60])
def test_leave_one_out_is_leaving_one_out(worth: float, count: int) -> None:
    source, (codes, labels) = tables(*blobs(400, 2)), blobs(count, 3)
    shortcut = Ridge(source, tables(codes, labels), worth).leave_one_out(codes, labels)[0]
    for row in range(count):
        keep = np.arange(count) != row
        # the penalty is that of the whole: as good as the same, and what makes the shortcut possible
        head = Ridge(source, tables(codes[keep], labels[keep]), worth).head()
        expected = log_softmax(head.logits(codes[row : row + 1].astype(np.float32)).astype(np.float64))
        assert_close(log_softmax(shortcut[row : row + 1]), expected, atol=0.5, rtol=0.02)


def test_a_class_only_the_device_knows_is_absent_without_its_only_sample() -> None:
    source = tables(*blobs(300, 2, classes=3), CLASSES[:3])
    codes, labels = blobs(20, 4)
    only = np.flatnonzero(labels == 3)[:1]
    rows = np.concatenate([np.flatnonzero(labels != 3), only])
    ridge = Ridge(source, tables(codes[rows], labels[rows]), 1.0)
    assert ridge.head().classes == CLASSES
    left = ridge.leave_one_out(codes[rows], labels[rows])[0]
    assert left[-1, 3] == ABSENT
    np.testing.assert_array_less(ABSENT, left[:-1, 3])


def test_a_class_nobody_met_is_never_predicted() -> None:
    codes, labels = blobs(300, 2, classes=3)
    ridge = Ridge(tables(codes, labels), Statistics.zeros(10, CLASSES, "s"), 1.0)
    assert 3 not in ridge.head().logits(codes.astype(np.float32)).argmax(axis=1)


def test_without_a_sample_there_is_nothing_to_solve() -> None:
    empty = Statistics.zeros(10, CLASSES, "s")
    with pytest.raises(LocalError, match="needs a sample"):
        Ridge(empty, empty, 1.0)
