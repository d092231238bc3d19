"""The median of a few numbers. The standard library's brings fractions and decimals, half a megabyte for a device."""

from __future__ import annotations

from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """The middle one, or the mean of the two in the middle. Raises ValueError of none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no median of no values")
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
