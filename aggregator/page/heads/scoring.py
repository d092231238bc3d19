"""How often a head is right on the bundle's own sample of its training data, which every version is scored on alike.

The sample (`buffer` of docs/bundle-format.md) is a class-balanced draw of codes with their labels. It tells what a head
still knows of the training data; what it is worth in the field, only labels of the field tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from aggregator.page.intervals import Interval
from headway.arrays import Bools, Float32, Int64
from headway.bundle import read_variant
from headway.errors import HeadwayError
from headway.maths import Head, predicted_class
from headway.wire import PublishedHead

ERRORS = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """codes: float32 (n, d); labels: int64 (n,), by `classes`; features: name of the space."""

    space: str
    codes: Float32
    labels: Int64
    classes: tuple[str, ...]

    def right(self, head: PublishedHead) -> Bools | None:
        """bool (n,): whether the head is right; None where it is of other features."""
        if head.space != self.space or head.head.kernel.shape[0] != self.codes.shape[1]:
            return None
        return np.asarray(self._said(head.head) == self.labels)

    def accuracy(self, head: PublishedHead) -> float | None:
        """Share of right answers."""
        right = self.right(head)
        return None if right is None else float(right.mean())

    def _said(self, head: Head) -> Int64:
        """Places in `classes`; -1 for a class that the bundle does not know."""
        places = np.array([self.classes.index(name) if name in self.classes else -1 for name in head.classes])
        return np.asarray(places[predicted_class(head.probabilities(self.codes))], np.int64)


@dataclass(frozen=True, slots=True)
class ClassCompared:
    """Of one class, the share of its rows that each head has right; moved: how far its weights went, as a share."""

    name: str
    rows: int
    first: float | None
    second: float | None
    moved: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Two heads on one sample. rows: of it, 0 without one. only_first, only_second: rows that one has right alone.
    gain: second less first, in points of accuracy."""

    rows: int
    first: float | None
    second: float | None
    only_first: int
    only_second: int
    gain: Interval | None
    classes: tuple[ClassCompared, ...]


def sample_of(bundle: Path) -> Sample | None:
    """None where the file is none that can be read, or carries no sample with classes."""
    try:
        return _sample(bundle, bundle.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=8)
def _sample(bundle: Path, changed_ns: int) -> Sample | None:
    try:
        variant = read_variant(bundle)
    except HeadwayError:
        return None  # `edge-fleet serve` says why it cannot be read
    rows = variant.buffer
    if rows is None or rows.labels is None or not len(rows.labels):
        return None
    return Sample(variant.space, np.asarray(rows.values, np.float32), rows.labels, variant.classes)


def compared(first: PublishedHead, second: PublishedHead, sample: Sample | None) -> Compared:
    """Of the same feature space."""
    hits = (None, None) if sample is None else (sample.right(first), sample.right(second))
    names = [*first.head.classes, *(name for name in second.head.classes if name not in first.head.classes)]
    if sample is None or hits[0] is None or hits[1] is None:
        classes = tuple(ClassCompared(name, 0, None, None, _moved(name, first, second)) for name in names)
        return Compared(0, None, None, 0, 0, None, classes)
    one, two = hits[0], hits[1]
    only_first, only_second, count = int((one & ~two).sum()), int((two & ~one).sum()), len(one)
    mean = (only_second - only_first) / count
    # of paired differences of -1, 0 and 1
    error = math.sqrt(max(only_first + only_second - count * mean**2, 0.0) / max(count - 1, 1) / count)
    gain = Interval("accuracy", 100 * mean, 100 * ERRORS * error, None, True, " points", digits=1)
    classes = tuple(_class(name, sample, one, two, _moved(name, first, second)) for name in names)
    return Compared(count, float(one.mean()), float(two.mean()), only_first, only_second, gain, classes)


def _class(name: str, sample: Sample, one: Bools, two: Bools, moved: float | None) -> ClassCompared:
    own = sample.labels == (sample.classes.index(name) if name in sample.classes else -1)
    rows = int(own.sum())
    if not rows:
        return ClassCompared(name, 0, None, None, moved)
    return ClassCompared(name, rows, float(one[own].mean()), float(two[own].mean()), moved)


def _moved(name: str, first: PublishedHead, second: PublishedHead) -> float | None:
    """Length of the difference of a class's weights, as a share of the first's; None where only one head has it."""
    if name not in first.head.classes or name not in second.head.classes:
        return None
    before = first.head.kernel[:, first.head.classes.index(name)]
    after = second.head.kernel[:, second.head.classes.index(name)]
    length = float(np.linalg.norm(before))
    return float(np.linalg.norm(after - before)) / length if length else None
