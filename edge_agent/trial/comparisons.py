"""The labels that a trial has compared, as rows in the store, and the sums over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from edge_agent.learner import CorrectLabel
from edge_agent.store import Extent, Saved
from edge_agent.trial.compared import Compared, Scale, paired
from headway.maths import PairedLoss, Task
from headway.samples import no_label


class Comparisons:
    """Rows by the label's number; a number is there once. name: what the names of the store's values begin with.

    labels_max, bytes_max: `full` from there on.
    """

    def __init__(self, name: str, task: Task, labels_max: int, bytes_max: int) -> None:
        self._name, self._task = name, task
        self._labels_max, self._bytes_max = labels_max, bytes_max
        self._rows: dict[int, Compared] = {}
        self._pairs: dict[int, tuple[PairedLoss, PairedLoss]] = {}
        self._bytes, self._scale = 0, Scale()
        self._changed: set[int] = set()
        self._gone: set[int] = set()

    @property
    def all(self) -> Iterable[Compared]:
        """Oldest first."""
        return self._rows.values()

    @property
    def full(self) -> bool:
        """Whether enough labels were compared."""
        return len(self._rows) >= self._labels_max or self._bytes >= self._bytes_max

    @property
    def sums(self) -> tuple[PairedLoss, PairedLoss]:
        """Of the frozen heads, and of what would have been served."""
        frozen, served = PairedLoss(), PairedLoss()
        for of_frozen, of_served in self._pairs.values():
            frozen, served = frozen + of_frozen, served + of_served
        return frozen, served

    def add(self, row: Compared) -> None:
        """One label more."""
        self._take(row, len(row.encode()))
        self._changed.add(row.number)

    def correct(self, operation: CorrectLabel) -> bool:
        """A label is another one, or none: it is scored so. False when it was not compared."""
        known = self._rows.get(operation.number)
        if known is None:
            return False
        row = replace(known, label=operation.after)
        self._rows[row.number], self._pairs[row.number] = row, paired(self._task, row, self._scale)
        self._changed.add(row.number)
        return True

    def clear(self) -> None:
        """Forget all."""
        self._gone |= self._rows.keys()
        self._rows, self._pairs, self._bytes, self._scale = {}, {}, 0, Scale()
        self._changed = set()

    def take_changes(self, extent: Extent) -> Saved:
        """What the next commit must hold."""
        numbers = set(self._rows) if extent is Extent.EVERYTHING else self._changed
        state = {self._name_of(number): self._rows[number].encode() for number in sorted(numbers)}
        dropped = tuple(self._name_of(number) for number in sorted(self._gone - self._rows.keys()))
        self._changed, self._gone = set(), set()
        return Saved(state, dropped)

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """Go on from what a store holds. Raises StoreError."""
        for name in sorted(name for name in saved if name.startswith(self._name)):
            number = int(name.removeprefix(self._name))
            self._take(Compared.decode(number, saved[name]), len(saved[name]))

    def _take(self, row: Compared, size_bytes: int) -> None:
        if self._task is Task.REGRESSION and not no_label(row.label):
            self._scale.see(row.outputs.old_frozen, np.asarray(row.label)[None])
        self._pairs[row.number] = paired(self._task, row, self._scale)
        self._rows[row.number], self._bytes = row, self._bytes + size_bytes

    def _name_of(self, number: int) -> str:
        return f"{self._name}{number:012d}"
