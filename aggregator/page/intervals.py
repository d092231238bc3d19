"""A number with its interval, drawn on a line beside what it must not exceed, and the same in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

WIDTH, EDGE = 360, 14


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
    digits: int = 4

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
        said = f"{self.name}: {self._shown(self.mean)}{self.unit}, "
        ends = f"from {self._shown(self.low)} to {self._shown(self.high)}"
        said += ends if self.bounded else "its interval is not known yet"
        return said if self.margin is None else f"{said}; may be at most {self._shown(self.margin)}"

    def _shown(self, value: float) -> str:
        """With its sign, a true minus."""
        return f"{value:+.{self.digits}f}".replace("-", "\N{MINUS SIGN}")

    def _ends(self) -> tuple[float, float]:
        points = [0.0, self.low, self.high, *([] if self.margin is None else [self.margin])]
        first, last = min(points), max(points)
        room = (last - first) * 0.08 or 0.01
        return first - room, last + room
