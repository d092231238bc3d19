"""The peer of the recipes gives what scikit-learn's own `partial_fit` gives, label by label."""

from __future__ import annotations

import numpy as np
import pytest

from headway.arrays import AnyArray
from recipes.peer import Peer

RANDOM = np.random.default_rng(0)
SIZE, ROWS = 12, 150


def stream(classes: int) -> tuple[AnyArray, AnyArray, AnyArray, AnyArray]:
    """Rows to begin with and rows that follow, moved; classes, or values where there is none."""
    x = RANDOM.normal(size=(2 * ROWS, SIZE)).astype(np.float32)
    told = x @ RANDOM.normal(size=(SIZE, max(classes, 1))) + RANDOM.normal(size=(2 * ROWS, 1))
    x[ROWS:] += 0.5
    y = told.argmax(axis=1) if classes > 2 else (told[:, 0] > 0).astype(np.int64) if classes else 20 + 9 * told[:, 0]
    return x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:]


@pytest.mark.parametrize(("classes", "new"), [(2, False), (5, False), (5, True), (0, False)])
def test_each_step_is_that_of_scikit_learn(classes: int, new: bool) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    begun, known, later, truth = stream(classes)
    if new:  # the last class comes on the stream alone
        begun, known = begun[known < classes - 1], known[known < classes - 1]
    peer = Peer(begun, known, 3, values=not classes, new_classes=np.unique(truth) if new else None)
    offset, scale = begun.mean(axis=0), begun.std(axis=0).max()
    mean, spread = (known.mean(), known.std()) if not classes else (0, 1)
    first, rest = (begun - offset) / scale, (later - offset) / scale
    model = linear_model.SGDClassifier("log_loss", random_state=0 if new else 3)
    if not classes:
        model = linear_model.SGDRegressor("huber", random_state=3)
    if new:
        model.partial_fit(first, known, classes=np.unique(truth))
    else:
        model.fit(first, (known - mean) / spread if not classes else known)
    ours = peer.over(later, truth)
    for row in range(ROWS):
        said = model.predict(rest[row : row + 1])[0]
        assert np.isclose(ours.answer(row), said * spread + mean if not classes else said, rtol=1e-4)
        ours.learn(row)
        model.partial_fit(
            rest[row : row + 1], (truth[row : row + 1] - mean) / spread if not classes else truth[row : row + 1]
        )
    # scikit-learn computes in float32: after steps in other directions the last digits differ
    for made, wanted in ((ours.weights, model.coef_), (ours.bias, model.intercept_)):
        np.testing.assert_allclose(made, wanted.reshape(made.shape), rtol=0, atol=1e-3 * np.abs(wanted).max())
    # a copy begins where the training rows ended
    assert peer.over(later, truth).answer(0) == peer.over(later, truth).answer(0)
    assert not np.array_equal(peer.weights, ours.weights)
