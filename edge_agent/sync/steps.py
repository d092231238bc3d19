"""The newest changes of a device's statistics, one by one: as arrays, since a thousand objects take five times more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from headway.arrays import Int8, Int64
from headway.samples import UNLABELLED

STEPS_MAX, STEP_BYTES_MAX = 1024, 2 << 20


@dataclass(frozen=True, slots=True)
class Step:
    """One change: label `number` is class `after` instead of `before`; UNLABELLED for none.

    code: its row of the statistics, int8 (1, d); replacement: the row with `after`, where it is another one.
    """

    position: int
    number: int
    code: Int8
    before: int
    after: int
    replacement: Int8 | None = None

    @property
    def is_new(self) -> bool:
        """A label was learned, none corrected."""
        return self.before == UNLABELLED


class RecentSteps:
    """At most `STEPS_MAX` steps of at most `STEP_BYTES_MAX`, oldest first. All have rows of one length."""

    def __init__(self) -> None:
        self._numbers: Int64 = np.empty((0, 4), np.int64)
        self._codes: Int8 = np.empty((0, 0), np.int8)
        # by place, of the few that have one
        self._replacements: dict[int, Int8] = {}
        self._first = self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Step]:
        for number in range(self._count):
            place = (self._first + number) % len(self._numbers)
            position, label, before, after = self._numbers[place].tolist()
            yield Step(position, label, self._codes[place : place + 1], before, after, self._replacements.get(place))

    def append(self, step: Step) -> int | None:
        """Returns the position of the oldest step, where that had to go."""
        if not len(self._numbers):
            places = max(1, min(STEPS_MAX, STEP_BYTES_MAX // step.code.nbytes))
            self._numbers = np.zeros((places, 4), np.int64)
            self._codes = np.zeros((places, step.code.shape[1]), np.int8)
        places, gone = len(self._numbers), None
        if self._count == places:
            gone = int(self._numbers[self._first, 0])
            self._first, self._count = (self._first + 1) % places, places - 1
        place = (self._first + self._count) % places
        self._numbers[place] = step.position, step.number, step.before, step.after
        self._codes[place] = step.code[0]
        self._replacements.pop(place, None)
        if step.replacement is not None:
            self._replacements[place] = step.replacement
        self._count += 1
        return gone

    def clear(self) -> None:
        """None is left."""
        self._first = self._count = 0
        self._replacements.clear()
