"""The gradient step: against finite differences, against the optimisers' papers, and when numbers blow up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from headway.arrays import Float32, Float64
from headway.errors import StoreError
from headway.maths.descent import Descent, DescentSettings, widened
from headway.maths.losses import Loss
from headway.maths.optimizers import Optimizer
from tests.arrays import assert_close, assert_same

CLASSES, SIZE, ROWS = 3, 4, 6


def batch(loss: Loss, seed: int = 1) -> tuple[Float32, Float32]:
    """Features with their trailing ones (B, d + 1), and targets (C, B)."""
    random = np.random.default_rng(seed)
    extended = np.ones((ROWS, SIZE + 1), np.float32)
    extended[:, :-1] = random.normal(size=(ROWS, SIZE))
    if loss is Loss.CROSS_ENTROPY:
        return extended, np.eye(CLASSES, dtype=np.float32)[:, random.integers(0, CLASSES, ROWS)]
    if loss is Loss.BINARY_CROSS_ENTROPY:
        return extended, random.integers(0, 2, (CLASSES, ROWS)).astype(np.float32)
    return extended, (3 * random.normal(size=(CLASSES, ROWS))).astype(np.float32)


def start(seed: int = 2) -> Float32:
    return np.random.default_rng(seed).normal(size=(CLASSES, SIZE + 1)).astype(np.float32)


def value(loss: Loss, weights: Float64, extended: Float64, targets: Float64) -> float:
    """The loss itself, as textbooks write it, in float64."""
    scores = weights @ extended.T
    if loss is Loss.CROSS_ENTROPY:
        log_p = scores - np.log(np.exp(scores).sum(axis=0))
        return float(-(targets * log_p).sum(axis=0).mean())
    if loss is Loss.BINARY_CROSS_ENTROPY:
        p = 1 / (1 + np.exp(-scores))
        return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum(axis=0).mean())
    error = np.abs(scores - targets)
    if loss is Loss.HUBER:
        return float(np.where(error <= 1, error**2 / 2, error - 0.5).sum(axis=0).mean())
    return float((error**2 / 2).sum(axis=0).mean())


def numerical_gradient(loss: Loss, weights: Float32, extended: Float32, targets: Float32) -> Float64:
    at, x, y = (a.astype(np.float64) for a in (weights, extended, targets))
    gradient = np.zeros_like(at)
    for index in np.ndindex(*at.shape):
        up, down = at.copy(), at.copy()
        up[index] += 1e-6
        down[index] -= 1e-6
        gradient[index] = (value(loss, up, x, y) - value(loss, down, x, y)) / 2e-6
    return gradient


@pytest.mark.parametrize("loss", list(Loss))
def test_one_step_follows_the_numerical_gradient(loss: Loss) -> None:
    extended, targets = batch(loss)
    descent = Descent(start(), DescentSettings(loss=loss, learning_rate=0.25), 8)
    assert descent.step(extended, targets)
    expected = start() - 0.25 * numerical_gradient(loss, start(), extended, targets)
    assert_close(descent.weights, expected, atol=1e-5)


@pytest.mark.parametrize("offset", [-1000.0, -95.0, -80.0, -40.0, 0.0, 80.0, 95.0, 1000.0])
def test_softmax_is_right_however_far_the_scores_are_from_zero(offset: float) -> None:
    """The same offset on all classes changes nothing, whichever way the exponentials are formed."""
    extended, targets = batch(Loss.CROSS_ENTROPY)
    steps = []
    for bias in (0.0, offset):
        weights = 3 * start()
        weights[:, -1] += np.float32(bias)
        descent = Descent(weights, DescentSettings(learning_rate=1.0), 8)
        assert descent.step(extended, targets)
        steps.append(descent.weights[:, :-1] - weights[:, :-1])
    assert_close(steps[0], steps[1], atol=2e-4)


def test_unknown_targets_pull_at_nothing() -> None:
    extended, targets = batch(Loss.BINARY_CROSS_ENTROPY)
    known = np.ones_like(targets)
    known[1] = 0.0
    descent = Descent(start(), DescentSettings(loss=Loss.BINARY_CROSS_ENTROPY), 8)
    descent.step(extended, targets, known)
    assert_same(descent.weights[1], start()[1])
    assert not np.array_equal(descent.weights[0], start()[0])


def textbook(optimizer: Optimizer, gradient_at: Callable[[Float64], Float64], steps: int, rate: float) -> Float64:
    """Each optimiser as its paper writes it, in float64."""
    weights = start().astype(np.float64)
    velocity, second = np.zeros_like(weights), np.zeros_like(weights)
    for t in range(1, steps + 1):
        gradient = gradient_at(weights)
        if optimizer is Optimizer.SGD:
            weights -= rate * gradient
        elif optimizer is Optimizer.ADAM:
            velocity = 0.9 * velocity + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            weights -= rate * (velocity / (1 - 0.9**t)) / (np.sqrt(second / (1 - 0.999**t)) + 1e-7)
        else:
            velocity = 0.9 * velocity + rate * gradient
            weights -= velocity if optimizer is Optimizer.MOMENTUM else 0.9 * velocity + rate * gradient
    return weights


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_optimisers_follow_their_papers(optimizer: Optimizer) -> None:
    extended, targets = batch(Loss.CROSS_ENTROPY)
    descent = Descent(start(), DescentSettings(optimizer=optimizer, learning_rate=0.05), 8)
    for _ in range(20):
        descent.step(extended, targets)

    def gradient_at(weights: Float64) -> Float64:
        scores = weights @ extended.T.astype(np.float64)
        p = np.exp(scores) / np.exp(scores).sum(axis=0)
        return np.asarray((p - targets) @ extended / ROWS)

    assert_close(descent.weights, textbook(optimizer, gradient_at, 20, 0.05), atol=2e-4)


def test_a_run_is_its_steps() -> None:
    batches = [batch(Loss.CROSS_ENTROPY, seed) for seed in range(5)]
    one, many = Descent(start(), DescentSettings(), ROWS), Descent(start(), DescentSettings(), 8)
    for extended, targets in batches:
        one.step(extended, targets)
    batches[2][0][0, 0] = np.nan
    assert many.run(batches[:2] + batches[3:]) == 4
    assert many.run(batches[2:3]) == 0
    assert one.steps == 5
    assert many.steps == 4


def test_long_gradients_are_clipped_and_short_ones_are_not() -> None:
    extended, targets = batch(Loss.SQUARED_ERROR)
    moved = {}
    for clip in (0.0, 0.5, 1e6):
        descent = Descent(start(), DescentSettings(Loss.SQUARED_ERROR, learning_rate=1.0, clip_norm=clip), 8)
        descent.step(extended, targets)
        moved[clip] = descent.weights - start()
    assert np.linalg.norm(moved[0.5]) == pytest.approx(0.5, rel=1e-5)
    assert np.linalg.norm(moved[0.0]) > 0.5
    assert_same(moved[0.0], moved[1e6])


def test_the_learning_rate_decays() -> None:
    extended, targets = batch(Loss.CROSS_ENTROPY)
    descent = Descent(start(), DescentSettings(learning_rate=0.6, learning_rate_decay=0.5), 8)
    rates = []
    for _ in range(3):
        rates.append(descent.learning_rate)
        descent.step(extended, targets)
    assert rates == pytest.approx([0.6, 0.4, 0.3])


@pytest.mark.parametrize(("anchor", "where"), [("l2", "zero"), ("proximal", "fleet"), ("l2_sp", "frozen")])
def test_a_strong_anchor_holds_the_weights_where_it_lies(anchor: str, where: str) -> None:
    extended, targets = batch(Loss.CROSS_ENTROPY)
    fleet, frozen = start(7), start(8)
    settings = DescentSettings(learning_rate=0.1, **{anchor: 1e6})
    descent = Descent(start(), settings, 8, frozen)
    descent.pull_to(fleet)
    for _ in range(3):
        assert descent.step(extended, targets)
    expected = {"zero": np.zeros_like(fleet), "fleet": fleet, "frozen": frozen}[where]
    assert_close(descent.weights[:, :-1], expected[:, :-1], atol=1e-4)
    # weight decay leaves the bias alone, as is usual; the other two do not
    assert np.allclose(descent.weights[:, -1], expected[:, -1], atol=1e-4) == (anchor != "l2")


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e38])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(optimizer: Optimizer, poison: float) -> None:
    extended, targets = batch(Loss.SQUARED_ERROR)
    descent = Descent(start(), DescentSettings(Loss.SQUARED_ERROR, optimizer, learning_rate=0.01), 8)
    for _ in range(3):
        assert descent.step(extended, targets)
    before = {name: array.copy() for name, array in descent.state().items()}
    poisoned = extended.copy()
    poisoned[2, 1] = poison
    assert not descent.step(poisoned, targets)
    assert descent.refused == 1
    after = descent.state()
    assert set(after) == set(before)
    for name in before.keys() - {"steps"}:
        assert_same(after[name], before[name], where=name)
    assert descent.steps == 3
    assert descent.step(extended, targets)


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_a_restored_descent_goes_on_to_the_bit(optimizer: Optimizer) -> None:
    extended, targets = batch(Loss.CROSS_ENTROPY)
    settings = DescentSettings(optimizer=optimizer, learning_rate_decay=0.1)
    straight, first = Descent(start(), settings, 8), Descent(start(), settings, 8)
    for _ in range(7):
        straight.step(extended, targets)
    for _ in range(4):
        first.step(extended, targets)
    second = Descent(start(), settings, 8)
    second.restore({name: array.copy() for name, array in first.state().items()})
    for _ in range(3):
        second.step(extended, targets)
    assert_same(second.weights, straight.weights)


def test_another_optimiser_takes_over_the_weights_and_nothing_else() -> None:
    extended, targets = batch(Loss.CROSS_ENTROPY)
    adam = Descent(start(), DescentSettings(optimizer=Optimizer.ADAM), 8)
    adam.step(extended, targets)
    momentum = Descent(start(), DescentSettings(optimizer=Optimizer.MOMENTUM), 8)
    momentum.restore(adam.state())
    assert_same(momentum.weights, adam.weights)
    np.testing.assert_array_equal(momentum.state()["momentum.velocity"], 0)


def test_damaged_state_is_refused() -> None:
    descent = Descent(start(), DescentSettings(), 8)
    with pytest.raises(StoreError, match="lacks"):
        descent.restore({})
    with pytest.raises(StoreError, match="does not fit"):
        descent.restore({**descent.state(), "weights": np.zeros((2, 2), np.float32)})


def test_more_classes_leave_the_known_ones_as_they_were() -> None:
    extended, targets = batch(Loss.CROSS_ENTROPY)
    descent = Descent(start(), DescentSettings(optimizer=Optimizer.ADAM), 8)
    descent.step(extended, targets)
    wide = widened(descent, CLASSES + 2, 8)
    assert_same(wide.weights[:CLASSES], descent.weights)
    np.testing.assert_array_equal(wide.weights[CLASSES:], 0)
    assert wide.step(extended, np.pad(targets, ((0, 2), (0, 0))))
