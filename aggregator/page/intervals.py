"""A number with its interval, drawn on a line beside what it must not exceed, and the same in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aggregator.page.words import UNKNOWN, number

WIDTH, HEIGHT, EDGE = 360, 44, 14
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Interval:
    """slack: half of the interval; infinite where it cannot be told. margin: what the whole interval has to lie below;
    None where nothing is asked. known: whether there is a number at all. unit: of what is measured, in words."""

    name: str
    mean: float
    slack: float
    margin: float | None
    known: bool
    unit: str = ""

    @property
    def bounded(self) -> bool:
        """Whether both ends can be drawn."""
        return self.known and math.isfinite(self.slack)

    @property
    def low(self) -> float:
        return self.mean - self.slack if self.bounded else self.mean

    @property
    def high(self) -> float:
        return self.mean + self.slack if self.bounded else self.mean

    @property
    def tone(self) -> str:
        """The class of its colour: good, bad, or warn while it is open."""
        if not self.bounded:
            return "quiet"
        if self.margin is None:
            return "good" if self.low > 0 else "bad" if self.high < 0 else "warn"
        return "good" if self.high <= self.margin else "bad" if self.low > self.margin else "warn"

    def x(self, value: float) -> float:
        """Where a value stands on the line."""
        first, last = self._ends()
        return round(EDGE + (value - first) / (last - first) * (WIDTH - 2 * EDGE), 1)

    @property
    def words(self) -> str:
        """All of it."""
        if not self.known:
            return f"{self.name}: no labelled window yet"
        said = f"{self.name}: {signed(self.mean)}{self.unit}"
        said += f", from {signed(self.low)} to {signed(self.high)}" if self.bounded else ", interval not known yet"
        return said if self.margin is None else f"{said}; may be at most {signed(self.margin)}"

    def _ends(self) -> tuple[float, float]:
        points = [0.0, self.low, self.high, *([] if self.margin is None else [self.margin])]
        first, last = min(points), max(points)
        room = (last - first) * 0.08 or 0.01
        return first - room, last + room


def signed(value: float) -> str:
    """With its sign, a true minus."""
    text = number(abs(value), DIGITS)
    return UNKNOWN if text == UNKNOWN else f"{'-' if value < 0 else '+'}{text}".replace("-", "\N{MINUS SIGN}")
