"""The comparisons of tests fail when they should, and say where."""

from __future__ import annotations

import numpy as np
import pytest

from tests.arrays import assert_close, assert_same


@pytest.mark.parametrize("compare", [assert_same, assert_close])
@pytest.mark.parametrize(
    ("found", "expected"),
    [([1.0, 2.0], [1.0, 2.1]), ([1.0, np.nan], [1.0, np.nan]), ([1.0, 1.0], [[1.0, 1.0]] * 2)],
)
def test_other_values_other_shapes_and_nan_are_different(compare: object, found: object, expected: object) -> None:
    with pytest.raises(AssertionError, match="in the kernel"):
        compare(np.array(found), np.array(expected), where="in the kernel")  # type: ignore[operator]


def test_a_scalar_is_not_an_array_of_it() -> None:
    with pytest.raises(AssertionError):
        assert_same(np.ones(3), 1.0)


def test_what_is_equal_passes_and_what_is_close_only_within_the_bounds() -> None:
    assert_same(np.array(["a", "b"]), ["a", "b"])
    assert_close(np.array([1.0]), np.array([1.0 + 0.9e-5]))
    with pytest.raises(AssertionError):
        assert_close(np.array([1.0]), np.array([1.0 + 1.2e-5]))
    with pytest.raises(AssertionError):
        assert_close(np.array([1.0]), np.array([1.02]), atol=1e-2, rtol=0)
