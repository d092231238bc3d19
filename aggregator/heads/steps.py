"""Work that is done in steps, so that reports are taken in between them.

What a step costs is reckoned from the numbers that it goes through, not timed: so the same work has the same steps in a
simulation, on a busy machine and on a quiet one.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, TypeVar

T = TypeVar("T")

# each gives the seconds of a core, as reckoned, that it took; the last one leaves the result
Steps = Generator[float, None, T]

# what a table takes to be read, and each of its numbers; to be gone through beside a measure; to be added to a sum
READ_S, READ_NUMBER_S = 1e-4, 1.1e-8
LOOK_S, LOOK_NUMBER_S = 7e-5, 2e-9
ADD_NUMBER_S = 4e-9
# a device that is compared by its class means, with each number of these; the inverse of a covariance, with the third
# power of its size; the median of class means, with each number of these
COMPARE_S, COMPARE_NUMBER_S = 3e-5, 1.6e-8
INVERSE_S = 2e-10
MEDIAN_NUMBER_S = 3e-8
# a verdict that is carried out, beside its tables, which are read twice
VERDICT_S = 1e-3


def whole(steps: Steps[T]) -> T:
    """All of it at once."""
    result = Work(steps).go_on(float("inf"))
    assert result is not None
    return result[0]


class Work(Generic[T]):
    """Something that is done in steps."""

    def __init__(self, steps: Steps[T]) -> None:
        self._steps, self._spent_s = steps, 0.0

    @property
    def spent_s(self) -> float:
        """What all steps until now have taken, as reckoned."""
        return self._spent_s

    def go_on(self, budget_s: float) -> tuple[T] | None:
        """Take steps until so much is spent: one at least. The result, once it is there. Raises what a step raises."""
        until_s = self._spent_s + budget_s
        try:
            while True:
                self._spent_s += next(self._steps)
                if self._spent_s >= until_s:
                    return None
        except StopIteration as end:
            return (end.value,)
