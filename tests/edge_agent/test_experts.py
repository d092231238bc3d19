"""The pool of experts: weights follow losses, forget slowly, and the pool is one linear head."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.learner.exact.experts import FEW_RATE, SHARE, ExpertPool, HeadStack
from headway.maths.head import Head, HeadInput, HeadKind, log_softmax
from tests.arrays import assert_close, assert_same

NAMES = ("good", "bad")


def head(seed: int) -> Head:
    random = np.random.default_rng(seed)
    kernel, bias = random.normal(size=(4, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
    return Head(kernel, bias, HeadKind.SOFTMAX, ("a", "b", "c"), HeadInput.CODES)


def test_without_a_label_all_count_alike() -> None:
    assert ExpertPool().weights(NAMES).tolist() == [0.5, 0.5]


def test_the_better_expert_takes_over_and_the_other_keeps_its_share() -> None:
    pool = ExpertPool()
    for _ in range(50):
        pool.score(NAMES, np.array([0.1, 2.0]))
    good, bad = pool.weights(NAMES)
    assert good > 0.98
    assert bad >= SHARE / 2 * 0.99


def test_an_expert_that_was_bad_for_long_comes_back_quickly() -> None:
    pool = ExpertPool()
    for _ in range(2000):
        pool.score(NAMES, np.array([0.1, 2.0]))
    for _ in range(8):
        pool.score(NAMES, np.array([2.0, 0.1]))
    assert pool.weights(NAMES)[1] > 0.9


def test_one_surprise_is_bounded() -> None:
    pool, bounded = ExpertPool(), ExpertPool()
    pool.score(NAMES, np.array([1e9, 0.0]))
    bounded.score(NAMES, np.array([4.0, 0.0]))
    assert_same(pool.weights(NAMES), bounded.weights(NAMES))


def test_a_new_expert_starts_small_but_not_at_nothing() -> None:
    pool = ExpertPool()
    for _ in range(20):
        pool.score(NAMES, np.array([0.1, 0.2]))
    weights = pool.weights((*NAMES, "new"))
    assert 0 < weights[2] < 0.01
    assert weights.sum() == pytest.approx(1.0)


def test_judging_few_rows_uses_all_of_them_alike() -> None:
    pool = ExpertPool()
    pool.judge({"good": np.array([0.5, 0.5]), "bad": np.array([0.5, 1.5])})
    good, bad = pool.weights(NAMES)
    odds = float(np.exp(FEW_RATE * 1.0))
    assert good == pytest.approx((1 - SHARE) * odds / (1 + odds) + SHARE / 2)
    assert bad == pytest.approx(1 - good)


def test_the_pool_of_linear_heads_is_the_linear_head_of_the_weighted_logits() -> None:
    pool, heads = ExpertPool(), {"good": head(1), "bad": head(2)}
    pool.score(NAMES, np.array([0.1, 1.0]))
    x = np.random.default_rng(3).normal(size=(7, 4)).astype(np.float32)
    expected = sum(w * h.logits(x) for w, h in zip(pool.weights(NAMES), heads.values(), strict=True))
    found = pool.head(HeadStack(heads)).logits(x)
    assert_close(log_softmax(found.astype(np.float64)), log_softmax(np.asarray(expected)), atol=1e-5)


def test_state_and_back_gives_the_same_weights() -> None:
    pool, again = ExpertPool(), ExpertPool()
    for loss in (0.3, 0.7, 0.2):
        pool.score(NAMES, np.array([loss, 1.0]))
    again.restore(pool.state())
    assert_same(pool.weights(NAMES), again.weights(NAMES))
