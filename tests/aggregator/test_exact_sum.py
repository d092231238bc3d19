"""A sum that neither order nor what was taken out again leaves a trace in."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from aggregator.heads.exact_sum import ExactSum
from headway.arrays import Float64

SHAPE = 2, 30


def parts(reach: float) -> list[Float64]:
    """Entries as large as may come, of every size below, and nothing."""
    random = np.random.default_rng(3)
    sizes = np.ldexp(1.0, -random.integers(0, 70, (40, *SHAPE)))
    return [*(reach * sizes * random.uniform(-1, 1, sizes.shape)), np.full(SHAPE, reach), np.zeros(SHAPE)]


def summed(each: list[Float64], reach: float) -> ExactSum:
    total = ExactSum(SHAPE, reach)
    for part in each:
        total.add(part.copy())
    return total


@pytest.mark.parametrize("reach", [1e-6, 1.0, 1e4, 1e9 * 2.0**62])
def test_the_order_and_what_was_taken_out_again_leave_no_trace(reach: float) -> None:
    each = parts(reach)
    expected = summed(each, reach).value()
    backwards = summed(each[::-1], reach)
    assert backwards.value().tobytes() == expected.tobytes()
    for part in each[:7]:
        backwards.add(-3 * part / 4)
    for part in each[:7]:
        backwards.subtract(-3 * part / 4)
    assert backwards.value().tobytes() == expected.tobytes()
    backwards.clear()
    assert not backwards.value().any()
    backwards.add(each[0].copy())
    assert backwards.value() == pytest.approx(each[0], rel=1e-15, abs=2.0**-60)


@pytest.mark.parametrize("reach", [1e-6, 1.0, 1e4, 1e9 * 2.0**62])
def test_it_is_the_sum_but_for_its_last_unit(reach: float) -> None:
    each = parts(reach)
    found = summed(each, reach).value()
    for place in np.ndindex(SHAPE):
        exact = sum(Fraction(part[place]) for part in each)
        room = len(each) * Fraction(2) ** -61 + abs(exact) * Fraction(2) ** -52
        assert abs(Fraction(found[place]) - exact) <= room


@pytest.mark.parametrize("seed", range(5))
def test_updates_times_their_factors_are_added_as_products_of_float64(seed: int) -> None:
    random, reach = np.random.default_rng(seed), 1e4
    deltas = [random.normal(0, 10.0 ** -random.integers(0, 9), SHAPE).astype(np.float32) for _ in range(50)]
    factors = [float(factor) for factor in random.choice([1.0, 50.0, 1000.0, 1000 / 3, 1e-9], len(deltas))]
    total, other = ExactSum(SHAPE, reach), ExactSum(SHAPE, reach)
    for delta, factor in zip(deltas, factors, strict=True):
        total.add(delta, factor)
    for at in random.permutation(len(deltas)):
        other.subtract(deltas[at], 0.7)
        other.add(deltas[at].astype(np.float64) * factors[at])
        other.add(deltas[at], 0.7)
    found = total.value()
    assert found.tobytes() == other.value().tobytes()
    for place in np.ndindex(SHAPE):
        products = [Fraction(float(delta[place]) * factor) for delta, factor in zip(deltas, factors, strict=True)]
        room = len(products) * Fraction(2) ** -61 + abs(sum(products)) * Fraction(2) ** -52
        assert abs(Fraction(found[place]) - sum(products)) <= room


def test_a_million_of_the_largest_fit() -> None:
    total, largest = ExactSum((1,), 1e4), np.full(1, 1e4)
    total.add(largest.copy())
    for _ in range(20):
        # twice as many each time, as adding them one by one would have it
        total._count *= 2
        total._sums = [each * 2 for each in total._sums]
    assert total.value()[0] == 1e4 * 2**20
