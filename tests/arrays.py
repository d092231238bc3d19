"""Comparing arrays so that a failure says which values differ; NaN equals nothing, as in `np.array_equal`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def assert_same(found: ArrayLike, expected: ArrayLike, where: str = "") -> None:
    """Equal in shape and in every value."""
    assert np.shape(found) == np.shape(expected), where
    np.testing.assert_array_equal(found, expected, err_msg=where)
    assert np.array_equal(found, expected), f"{where} NaN on both sides"


def assert_close(
    found: ArrayLike, expected: ArrayLike, *, rtol: float = 1e-5, atol: float = 1e-8, where: str = ""
) -> None:
    """|found - expected| <= atol + rtol |expected|, in every value; the bounds of `np.allclose` when none are given."""
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol, equal_nan=False, err_msg=where)
