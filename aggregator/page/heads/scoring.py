"""Two heads compared on the bundle's own sample of its training data, see `aggregator.heads.EvaluationSample`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from aggregator.heads import EvaluationSample, paired
from aggregator.page.intervals import Interval
from headway.arrays import Bools
from headway.bundle import read_variant
from headway.errors import HeadwayError
from headway.wire import PublishedHead

ERRORS = 2.0


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


def sample_of(bundle: Path) -> EvaluationSample | None:
    """None where the file is none that can be read, or carries no sample with classes."""
    try:
        return _sample(bundle, bundle.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=8)
def _sample(bundle: Path, changed_ns: int) -> EvaluationSample | None:
    try:
        return EvaluationSample.of(read_variant(bundle))
    except HeadwayError:
        return None  # `edge-fleet serve` says why it cannot be read


def share_right(head: PublishedHead, sample: EvaluationSample) -> float | None:
    """Share of right answers; None where the head is of other features."""
    right = _right(head, sample)
    return None if right is None else float(right.mean())


def compared(first: PublishedHead, second: PublishedHead, sample: EvaluationSample | None) -> Compared:
    """Of the same feature space."""
    hits = (None, None) if sample is None else (_right(first, sample), _right(second, sample))
    names = [*first.head.classes, *(name for name in second.head.classes if name not in first.head.classes)]
    if sample is None or hits[0] is None or hits[1] is None:
        classes = tuple(ClassCompared(name, 0, None, None, _moved(name, first, second)) for name in names)
        return Compared(0, None, None, 0, 0, None, classes)
    one, two = hits[0], hits[1]
    found = paired(one, two)
    gain = Interval("accuracy", 100 * found.gain, 100 * ERRORS * found.error, None, True, " points", digits=1)
    classes = tuple(_class(name, sample, one, two, _moved(name, first, second)) for name in names)
    return Compared(
        found.rows, float(one.mean()), float(two.mean()), found.only_first, found.only_second, gain, classes
    )


def _right(head: PublishedHead, sample: EvaluationSample) -> Bools | None:
    return sample.right(head.head) if head.space == sample.space else None


def _class(name: str, sample: EvaluationSample, one: Bools, two: Bools, moved: float | None) -> ClassCompared:
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
