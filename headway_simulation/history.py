"""Recomputes what a device should have learned, by the simplest means, from the files it consumed.

Kept beside the device, never by it: a plain sum over samples, with none of the product's buckets, stores or counters.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import numpy as np

from edge_agent.sync import SyncState
from headway.arrays import Int8
from headway.maths import Statistics
from headway.ports import Received
from headway.samples import UNLABELLED, Samples


class Violation(Exception):
    """A promise was broken: the finding of a run."""


@dataclass(frozen=True, slots=True, eq=False)
class SensorFile:
    """A file that a sensor dropped. samples None: it is damaged; codes: int8 (n, d) of its windows."""

    name: str
    samples: Samples | None
    codes: Int8

    def part(self, start: int, stop: int | None) -> SensorFile:
        """Some of its rows, as a file of their own."""
        samples = self.samples
        if samples is None or (start == 0 and stop is None):
            return self
        rows = slice(start, stop)
        x, y = (None if given is None else given[rows] for given in (samples.x, samples.y))
        ids = None if samples.ids is None else samples.ids[rows]
        return SensorFile(f"{self.name}.{start}", replace(samples, x=x, y=y, ids=ids), self.codes[rows])


@dataclass(slots=True)
class History:
    """One life of a device, from empty tables to the loss of its disk.

    tables_at: the tables the device must have under each counter that was committed.
    rows: of the file after `consumed`, that are learned.
    steps: labels learned, corrections to another class among them; applied: the files they came from.
    updates: samples of each gradient update that was queued, from sequence 1.
    course: files consumed, fleet heads and priors (messages) taken up, in that order, to do it all over again.
    """

    total: Statistics
    windows_max: int
    consumed: int = 0
    rows: int = 0
    counter: int = 0
    boot: int = 0
    epoch: int | None = None
    steps: int = 0
    fleet_version: int = 0
    prior_samples: int = 0
    updates: list[int] = field(default_factory=list)
    applied: dict[str, SensorFile] = field(default_factory=dict)
    dropped: dict[str, SensorFile] = field(default_factory=dict)
    claims: dict[int, SensorFile] = field(default_factory=dict)
    tables_at: dict[int, Statistics] = field(default_factory=dict)
    course: list[SensorFile | Received] = field(default_factory=list)
    _windows: OrderedDict[str, tuple[Int8, int]] = field(default_factory=OrderedDict)

    def committed(self, state: SyncState) -> None:
        """The device made this durable: everything up to file `consumed` is learned. Raises Violation."""
        if self.epoch not in (None, state.epoch):
            raise Violation(f"epoch {state.epoch} began though epoch {self.epoch} was neither copied nor restored")
        self.epoch = state.epoch
        if state.consumed < self.consumed or state.counter < self.counter or state.boot < self.boot:
            raise Violation(f"{state} was committed after counter {self.counter}, file {self.consumed}")
        for sequence in range(self.consumed + 1, state.consumed + 1):
            file = self.claims[sequence]
            if file.name in self.applied:
                raise Violation(f"file {file.name} was learned twice")
            self.applied[file.name] = file
            self._apply_rows(file, None)
            self.rows = 0
        if state.begun_rows > self.rows:
            self._apply_rows(self.claims[state.begun], state.begun_rows)
            self.rows = state.begun_rows
        elif state.begun_rows < self.rows:
            raise Violation(f"{state} was committed after row {self.rows}")
        self.consumed, self.counter, self.boot = state.consumed, state.counter, state.boot
        if self.tables_at.setdefault(state.counter, self.total) != self.total:
            raise Violation(f"the tables ought to have changed, but counter {state.counter} is the same")

    def queued(self, sequence: int, samples: int) -> None:
        """The device put an update of so many labels into its outbox. Raises Violation."""
        if sequence != len(self.updates) + 1:
            raise Violation(f"update {sequence} was queued after {len(self.updates)}")
        self.updates.append(samples)

    def adopted_head(self, version: int, message: Received) -> None:
        """The device took this fleet head up, durably."""
        self.fleet_version = version
        self.course.append(message)

    def adopted_prior(self, samples: int, message: Received) -> None:
        """The device starts from this fleet prior, durably."""
        self.prior_samples = samples
        self.course.append(message)

    def _apply_rows(self, file: SensorFile, stop: int | None) -> None:
        """The file's rows after those that are learned, up to there."""
        part = file.part(self.rows, stop)
        self.course.append(part)
        self._apply(part)

    def _apply(self, file: SensorFile) -> None:
        samples = file.samples
        if samples is None:
            return
        labels = [UNLABELLED] * len(samples) if samples.y is None else samples.y.tolist()
        for row, label in enumerate(labels):
            window_id = samples.ids[row] if samples.ids is not None else None
            if samples.x is not None:
                self._window(file.codes[row : row + 1], window_id, label)
            elif window_id is not None:
                self._late(window_id, label)

    def _window(self, code: Int8, window_id: str | None, label: int) -> None:
        if label != UNLABELLED:
            self._add(code, label)
        if window_id is not None:
            self._windows.pop(window_id, None)
            self._windows[window_id] = (code, label)
            while len(self._windows) > self.windows_max:
                self._windows.popitem(last=False)

    def _late(self, window_id: str, label: int) -> None:
        if window_id not in self._windows:
            return
        code, before = self._windows[window_id]
        if before == label:
            return
        if before != UNLABELLED:
            self.total = self.total - self._of(code, before)
        if label != UNLABELLED:
            self._add(code, label)
        self._windows[window_id] = (code, label)

    def _add(self, code: Int8, label: int) -> None:
        self.total = self.total + self._of(code, label)
        self.steps += 1

    def _of(self, code: Int8, label: int) -> Statistics:
        return Statistics.of(code, np.array([label], np.int64), self.total.classes, self.total.space)
