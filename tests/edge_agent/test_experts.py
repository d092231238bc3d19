"""The pool of experts: weights follow losses, forget slowly, and the pool is one linear head."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edge_agent.learner.exact.experts import Ensemble, ServedHeads, Weights
from edge_agent.learner.exact.recipes import Solved
from edge_agent.learner.exact.settings import ExactSettings, Recipe
from headway.errors import LocalError
from headway.maths.head import Head, HeadInput, HeadKind, log_softmax

SETTINGS = ExactSettings(recipes=(Recipe("good"), Recipe("bad", worth=10.0)))
NAMES = ("good", "bad")
NOBODY = Weights(SETTINGS, {})
CODES = np.random.default_rng(3).integers(-127, 128, (7, 4)).astype(np.int8)


def head(seed: int) -> Head:
    random = np.random.default_rng(seed)
    kernel, bias = random.normal(size=(4, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
    return Head(kernel, bias, HeadKind.SOFTMAX, ("a", "b", "c"), HeadInput.CODES)


class Running:
    """A running posterior whose scores are told to it."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        self.counts = np.ones(3)
        self._scores = kernel, [bias]

    def add(self, code: np.ndarray, label: int) -> None:
        """It is told what labels make of it."""

    def scores(self, local_priors: list[bool]) -> tuple[np.ndarray, list[np.ndarray]]:
        assert local_priors == [False]
        return self._scores


def served(weights: Weights = NOBODY, *, after: Any = None, temperatures: Mapping[str, float] = {}) -> ServedHeads:
    """after: the running posterior that the first head follows."""
    everything: Any = SimpleNamespace(running=lambda: after)
    solved = Solved({"good": head(1), "bad": head(2)}, {}, temperatures, everything, everything, met=True)
    return ServedHeads(Ensemble(solved, weights, None), SETTINGS)


def test_without_a_label_all_count_alike() -> None:
    assert NOBODY.of(NAMES).tolist() == [0.5, 0.5]


def test_the_better_expert_takes_over_and_the_other_keeps_its_share() -> None:
    pool = NOBODY
    for _ in range(50):
        pool = pool.scored(NAMES, np.array([0.1, 2.0]))
    good, bad = pool.of(NAMES)
    assert good > 0.98
    assert bad >= SETTINGS.share / 2 * 0.99


def test_an_expert_that_was_bad_for_long_comes_back_quickly() -> None:
    pool = NOBODY
    for _ in range(2000):
        pool = pool.scored(NAMES, np.array([0.1, 2.0]))
    for _ in range(8):
        pool = pool.scored(NAMES, np.array([2.0, 0.1]))
    assert pool.of(NAMES)[1] > 0.9


def test_one_surprise_is_bounded() -> None:
    pool, bounded = NOBODY.scored(NAMES, np.array([1e9, 0.0])), NOBODY.scored(NAMES, np.array([4.0, 0.0]))
    assert_array_equal(pool.of(NAMES), bounded.of(NAMES))


def test_a_new_expert_starts_small_but_not_at_nothing() -> None:
    pool = NOBODY
    for _ in range(20):
        pool = pool.scored(NAMES, np.array([0.1, 0.2]))
    weights = pool.of((*NAMES, "new"))
    assert 0 < weights[2] < 0.01
    assert weights.sum() == pytest.approx(1.0)


def test_judging_few_rows_uses_all_of_them_alike() -> None:
    pool = NOBODY.judged({"good": np.array([0.5, 0.5]), "bad": np.array([0.5, 1.5])})
    good, bad = pool.of(NAMES)
    odds = float(np.exp(SETTINGS.few_rate * 1.0))
    assert good == pytest.approx((1 - SETTINGS.share) * odds / (1 + odds) + SETTINGS.share / 2)
    assert bad == pytest.approx(1 - good)


def test_the_pool_of_linear_heads_is_the_linear_head_of_the_weighted_logits() -> None:
    pool = NOBODY.scored(NAMES, np.array([0.1, 1.0]))
    x = CODES.astype(np.float32)
    expected = sum(w * h.logits(x) for w, h in zip(pool.of(NAMES), (head(1), head(2)), strict=True))
    found = served(pool).head
    assert (found.kind, found.classes, found.input) == (HeadKind.SOFTMAX, head(1).classes, HeadInput.CODES)
    assert_allclose(
        log_softmax(found.logits(x).astype(np.float64)), log_softmax(np.asarray(expected)), atol=0.0001, rtol=1e-05
    )


def test_a_label_moves_the_weights_by_what_each_head_said_of_it() -> None:
    subject = served()
    code = np.array([1, 0, -1, 2], np.int8)
    said = [
        log_softmax(one.logits(code[None].astype(np.float32)).astype(np.float64))[0, 2] for one in (head(1), head(2))
    ]
    before = subject.head
    subject.score(code, 2)
    expected = NOBODY.scored(NAMES, -np.array(said))
    assert_allclose(subject.weights.of(NAMES), expected.of(NAMES), rtol=0.0001, atol=1e-08)
    assert not np.array_equal(subject.head.kernel, before.kernel)


def test_another_head_takes_the_place_of_the_one_that_follows() -> None:
    other = head(4)
    running = Running(other.kernel.T.astype(np.float64), other.bias.astype(np.float64))
    subject = served(after=running, temperatures={"good": 2.0})
    before = subject.head
    kept = before.kernel.copy()
    subject.follow(CODES[0], 1)
    assert_allclose(subject.head.kernel, (other.kernel / 2 + head(2).kernel) / 2, atol=1e-06, rtol=1e-05)
    assert_allclose(subject.head.bias, (other.bias / 2 + head(2).bias) / 2, atol=1e-06, rtol=1e-05)
    assert_array_equal(before.kernel, kept, err_msg="what was pooled before stays as it was served")


def test_a_weight_that_is_not_finite_is_refused() -> None:
    subject = served(after=Running(np.full((3, 4), np.inf), np.zeros(3)))
    subject.follow(CODES[0], 1)
    with pytest.raises(LocalError, match="finite"):
        _ = subject.head


def test_state_and_back_gives_the_same_weights() -> None:
    pool = NOBODY
    for loss in (0.3, 0.7, 0.2):
        pool = pool.scored(NAMES, np.array([loss, 1.0]))
    assert_array_equal(pool.of(NAMES), Weights(SETTINGS, dict(pool.logs)).of(NAMES))
