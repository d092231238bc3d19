"""Stacked heads against the heads themselves, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.learner.exact.experts import HeadStack
from headway.errors import LocalError
from headway.maths.head import Head, HeadInput, HeadKind
from tests.arrays import assert_close, assert_same

CLASSES = ("a", "b", "c")


def head(seed: int) -> Head:
    random = np.random.default_rng(seed)
    kernel, bias = random.normal(size=(5, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
    return Head(kernel, bias, HeadKind.SOFTMAX, CLASSES, HeadInput.CODES)


HEADS = {"one": head(1), "two": head(2)}
CODE = np.random.default_rng(3).integers(-127, 128, 5).astype(np.float32)


def test_logits_are_those_of_every_head() -> None:
    found = HeadStack(HEADS).logits(CODE)
    assert found.dtype == np.float64
    assert_close(found, [one.logits(CODE[None])[0] for one in HEADS.values()], rtol=1e-5, atol=1e-4)


def test_pooled_is_the_weighted_sum() -> None:
    pooled = HeadStack(HEADS).pooled(np.array([0.25, 0.75]))
    assert_close(pooled.kernel, 0.25 * HEADS["one"].kernel + 0.75 * HEADS["two"].kernel, atol=1e-6)
    assert_close(pooled.bias, 0.25 * HEADS["one"].bias + 0.75 * HEADS["two"].bias, atol=1e-6)
    assert (pooled.kind, pooled.classes, pooled.input) == (HeadKind.SOFTMAX, CLASSES, HeadInput.CODES)


def test_another_head_takes_the_place_of_one() -> None:
    stack, other = HeadStack(HEADS), head(4)
    before = stack.pooled(np.array([0.5, 0.5]))
    stack.put("two", other.kernel.T.astype(np.float64), other.bias.astype(np.float64), temperature=2.0)
    assert_same(stack.head("one").kernel, HEADS["one"].kernel)
    assert_same(stack.head("two").kernel, other.kernel / 2)
    assert_same(stack.head("two").bias, other.bias / 2)
    # what was pooled before stays as it was served
    assert_close(before.kernel, (HEADS["one"].kernel + HEADS["two"].kernel) / 2, atol=1e-6)


def test_a_weight_that_is_not_finite_is_refused() -> None:
    stack = HeadStack(HEADS)
    stack.put("one", np.full((3, 5), np.inf), np.zeros(3), temperature=1.0)
    with pytest.raises(LocalError, match="finite"):
        stack.pooled(np.array([0.5, 0.5]))
