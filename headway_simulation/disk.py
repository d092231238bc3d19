"""Simulates a device's disk: store and spool that lose unsynced writes with the power, and that can be full.

What was synced survives a power cut. What was not may survive, in the order in which it was written.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_agent.sensors import Claimed
from edge_agent.store import Changes, MemoryStore
from headway.durable import Content, content_bytes
from headway.errors import DataError, StoreError
from headway.maths import Task
from headway.samples import Samples
from headway_simulation.model import NEW_CLASS
from headway_simulation.power import Power
from headway_simulation.sensor_file import SensorFile

# as the real one does
CLAIMED_TOGETHER = 32


class SimulatedStore(MemoryStore):
    """Implements `edge_agent.store.store.Store`. synchronous: a commit is durable when it returns, as SQLite's FULL is.

    on_commit: called with every commit once it is durable. A full disk refuses commits.
    """

    synchronous = True

    def __init__(self, power: Power, on_commit: Callable[[Changes], None]) -> None:
        super().__init__()
        self._tables = tuple(vars(self))
        self._power, self._on_commit = power, on_commit
        self._synced: dict[str, object] | None = None
        self._full = False

    def commit(self, changes: Changes) -> None:
        with self._power.effect(commit=True):
            if self._full:
                raise StoreError("database or disk is full")
            if not self.synchronous and self._synced is None:
                self._synced = self.copy()
            super().commit(changes)
            self._on_commit(changes)

    def copy(self) -> dict[str, object]:
        """What a copy of the database holds, made now; all values in its containers are immutable."""
        return {name: copy.copy(getattr(self, name)) for name in self._tables}

    def take_over(self, tables: dict[str, object]) -> None:
        """Hold what a copy held."""
        for name, value in tables.items():
            setattr(self, name, copy.copy(value))

    def fill(self, full: bool) -> None:
        """The disk has no space left, or has again."""
        self._full = full

    def sync(self) -> None:
        """The kernel wrote what nobody had asked it to."""
        self._synced = None

    def power_cut(self) -> None:
        """What was not synced is gone."""
        for name, value in (self._synced or {}).items():
            setattr(self, name, value)
        self._synced = None


class SimulatedSpool:
    """Implements `edge_agent.sensors.ports.Sensor`. Files are where `durable` operations put them."""

    def __init__(self, power: Power, chance: random.Random, bundle_classes: int) -> None:
        self._power, self._chance, self._bundle_classes = power, chance, bundle_classes
        self.waiting: dict[str, SensorFile] = {}
        self.claimed: dict[int, SensorFile] = {}
        self.answers: dict[str, bytes] = {}
        self.rejected: dict[str, SensorFile] = {}
        self.claims: dict[int, SensorFile] = {}
        self._full = False
        self._undo: list[Callable[[], None]] = []
        self._ahead: deque[Claimed] = deque()

    @property
    def unsettled(self) -> int:
        return 0

    def fill(self, full: bool) -> None:
        """The disk has no space left, or has again."""
        self._full = full

    def take_over(self, claimed: Mapping[int, SensorFile]) -> None:
        """Hold these files, which were claimed already."""
        self.claimed.update(claimed)
        self.claims.update(claimed)

    def drop(self, file: SensorFile) -> None:
        """A sensor puts a file in, durably."""
        self.waiting[file.name] = file

    def recover(self, consumed: int) -> list[Claimed]:
        self._ahead.clear()  # it was in memory
        found = []
        for sequence, file in sorted(self.claimed.items()):
            claimed = Claimed(sequence, file.name, Path(file.name))
            if sequence <= consumed:
                self.release(claimed)
            else:
                found.append(claimed)
        return found

    def claim(self, next_sequence: int) -> Iterator[Claimed]:
        if self._ahead:
            next_sequence = max(next_sequence, self._ahead[-1].sequence + 1)
        names = deque(self.waiting)
        while self._ahead or names:
            while names and len(self._ahead) < CLAIMED_TOGETHER:
                self._power.point()
                name = names.popleft()
                file = self.waiting.pop(name)
                self.claimed[next_sequence] = self.claims[next_sequence] = file
                self._undo.append(self._unclaim(next_sequence, file))
                self._ahead.append(Claimed(next_sequence, name, Path(name)))
                next_sequence += 1
            self._power.point()
            self._sync()
            while self._ahead:
                yield self._ahead.popleft()

    def read(
        self, file: Claimed, classes: Sequence[str], *, new_classes: bool, task: Task = Task.CLASSIFICATION
    ) -> Samples:
        samples = self.claimed[file.sequence].samples
        if samples is None:
            raise DataError(f"{file.name} is not a readable .npz file")
        if samples.y is None or not (samples.y == self._bundle_classes).any():
            return samples
        # as a file with names would be read: by the classes of the moment
        known = NEW_CLASS in classes
        index = classes.index(NEW_CLASS) if known else len(classes)
        y = np.where(samples.y == self._bundle_classes, index, samples.y)
        return replace(samples, y=y, names=() if known else (NEW_CLASS,))

    def answer(self, answers: Sequence[tuple[Claimed, Content]]) -> None:
        for file, payload in answers:
            with self._power.effect():
                self._check_space()
                self.answers[file.name] = content_bytes(payload)

    def release(self, file: Claimed) -> None:
        with self._power.effect():
            content = self.claimed.pop(file.sequence, None)
            if content is not None:
                self._undo.append(lambda: self.claimed.__setitem__(file.sequence, content))

    def reject(self, file: Claimed, reason: str) -> None:
        with self._power.effect():
            self._check_space()
        with self._power.effect():
            self.rejected[file.name] = self.claimed.pop(file.sequence)
            self._sync()

    def prune_answers(self) -> int:
        return 0

    def take_notices(self) -> list[tuple[str, str]]:
        return []

    def power_cut(self) -> None:
        """Renames and removals that were not synced come undone, the newest first."""
        kept = self._chance.randint(0, len(self._undo))
        for undo in reversed(self._undo[kept:]):
            undo()
        self._sync()

    def _sync(self) -> None:
        self._undo.clear()

    def _unclaim(self, sequence: int, file: SensorFile) -> Callable[[], None]:
        def undo() -> None:
            del self.claimed[sequence]
            self.waiting[file.name] = file

        return undo

    def _check_space(self) -> None:
        if self._full:
            raise StoreError("cannot write: No space left on device")
