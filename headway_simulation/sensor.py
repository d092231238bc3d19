"""Simulates a sensor: windows, labels at once, later, corrected or taken back, wrong on purpose, and damaged files."""

from __future__ import annotations

import random

import numpy as np

from edge_agent.intake import SLICE_ROWS_MAX
from headway.arrays import Float32, Int64
from headway.class_changes import ClassChanges
from headway.samples import UNLABELLED, Samples
from headway_simulation.model import NEW_CLASS, RENAMED_CLASS, Model
from headway_simulation.sensor_file import SensorFile

# windows that a liar makes of one
TIMES = 4


class Sensor:
    """Makes the files of one device. Names are never used twice; ids sometimes are.

    drift: of what it sees from what the model was trained on; lies: its windows are labelled as another class, and come
    many times over where they all have labels.
    """

    def __init__(
        self,
        model: Model,
        chance: random.Random,
        rows_max: int = 3,
        prefix: str = "",
        drift: float = 0.6,
        lies: bool = False,
    ) -> None:
        self._model, self._chance, self._rows_max, self._prefix = model, chance, rows_max, prefix
        self._drift, self._lies = drift, lies
        self._files = self._windows = 0
        self._known: list[str] = []

    def copy(self, prefix: str, chance: random.Random) -> Sensor:
        """One that knows the same windows, and names its own files otherwise."""
        other = Sensor(self._model, chance, self._rows_max, prefix, self._drift, self._lies)
        other.know(self._windows, self._known)
        return other

    def know(self, windows: int, names: list[str]) -> None:
        """So many windows had an id so far, and these are the ids."""
        self._windows, self._known = windows, list(names)

    @property
    def known(self) -> tuple[str, ...]:
        """Ids of windows that it has given."""
        return tuple(self._known)

    def next_file(self) -> SensorFile:
        """The next file, of a kind drawn at random."""
        kind = self._chance.random()
        if kind < 0.05:
            return self._file(None)
        if kind < 0.08:
            return self._large_file()
        if kind < 0.35 and self._known:
            return self._labels()
        return self._windows_file(with_ids=kind < 0.8, with_labels=kind > 0.5)

    def labelled(self, rows: int) -> SensorFile:
        """Windows that come with their labels."""
        x, y = self._drawn(rows)
        if self._lies:
            x, y = np.repeat(x, TIMES, axis=0), np.repeat(y, TIMES)
        return self._file(Samples(x, y))

    def new_class(self, rows: int) -> SensorFile:
        """Windows of a class that the bundle does not know."""
        x, y = self._model.windows(rows, self._chance)
        return self._file(Samples(x, np.full_like(y, len(self._model.classes))))

    def rename(self) -> SensorFile:
        """The class that the bundle does not know gets another name."""
        return self._file(Samples(None, None, changes=ClassChanges(rename=((NEW_CLASS, RENAMED_CLASS),))))

    def _drawn(self, rows: int) -> tuple[Float32, Int64]:
        x, y = self._model.windows(rows, self._chance, self._drift)
        return x, (y + 1) % len(self._model.classes) if self._lies else y

    def _windows_file(self, with_ids: bool, with_labels: bool) -> SensorFile:
        x, y = self._drawn(self._chance.randint(1, self._rows_max))
        if self._chance.random() < 0.3:
            y = np.where(np.array([self._chance.random() < 0.5 for _ in y]), y, UNLABELLED)
        ids = self._ids(len(x)) if with_ids else None
        return self._file(Samples(x, y if with_labels else None, ids))

    def _large_file(self) -> SensorFile:
        """More rows than are committed at once, few of them labelled."""
        x, y = self._model.windows(SLICE_ROWS_MAX + self._chance.randint(1, SLICE_ROWS_MAX), self._chance)
        labelled = np.zeros(len(y), bool)
        labelled[[self._chance.randrange(len(y)) for _ in range(self._rows_max)]] = True
        return self._file(Samples(x, np.where(labelled, y, UNLABELLED)))

    def _ids(self, count: int) -> tuple[str, ...]:
        ids: dict[str, None] = {}
        while len(ids) < count:
            if self._known and self._chance.random() < 0.1:
                ids[self._chance.choice(self._known)] = None
            else:
                self._windows += 1
                ids[f"w{self._windows}"] = None
        self._known += [name for name in ids if name not in self._known]
        return tuple(ids)

    def _labels(self) -> SensorFile:
        count = self._chance.randint(1, min(self._rows_max, len(self._known)))
        ids = self._chance.sample(self._known, count)
        if self._chance.random() < 0.1:
            ids[0] = "nobody"
        labels: Int64 = np.array(
            [self._chance.randint(UNLABELLED, len(self._model.classes) - 1) for _ in ids], np.int64
        )
        return self._file(Samples(None, labels, tuple(ids)))

    def _file(self, samples: Samples | None) -> SensorFile:
        self._files += 1
        codes = np.zeros((0, self._model.size), np.int8)
        if samples is not None and samples.has_windows:
            codes = self._model.codes(samples.windows(0, len(samples)))
        return SensorFile(f"{self._prefix}f{self._files:05d}.npz", samples, codes)
