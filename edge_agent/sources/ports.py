"""Defines the protocol between a source of raw rows and the sensor that makes windows of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from headway.arrays import Float64


@dataclass(frozen=True, slots=True)
class Rows:
    """times_s: float64 (n,), growing; values: float64 (n, channels of the source), NaN where one is missing."""

    times_s: Float64
    values: Float64


class Source(Protocol):
    """Gives raw rows. Opened by the first step of `rows`, and again by each new call of it."""

    channels: tuple[str, ...]
    units: tuple[str, ...]

    def rows(self) -> Iterator[Rows]:
        """Wait for rows and give them, until the source ends. Raises DataError with what is wrong and the fix."""
        ...

    def close(self) -> None:
        """End `rows`, from another thread."""
        ...
