"""Durations as people write them, the same in every command, rule and request."""

from __future__ import annotations

import pytest

from aggregator.durations import duration_s
from aggregator.filters import UNITS, Quantity
from headway.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("30m", 1800.0), ("30 min", 1800.0), ("1.5h", 5400.0), ("7d", 604_800.0), (" 2w ", 1_209_600.0)],
)
def test_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "7", "d", "-1h", "0s", "0.0d", "1e9s", "7 days", "1h30m", "nand", "٣d"])
def test_what_is_none_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(ConfigError, match="is no duration; write a number and one of s, m, min, h, d, w"):
        duration_s(text)


def test_filters_write_them_alike() -> None:
    assert all(duration_s(f"1{unit}") == seconds for unit, seconds in UNITS[Quantity.DURATION].items())
