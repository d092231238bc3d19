"""The median of a few numbers is that of the standard library."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.median import median


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_it_is_the_one_of_the_standard_library(values: list[float]) -> None:
    assert median(values) == statistics.median(values)


def test_of_nothing_there_is_none() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])
