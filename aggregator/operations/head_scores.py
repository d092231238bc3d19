"""Heads on the bundle's own sample of its training data, see `aggregator.heads.EvaluationSample`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from aggregator.heads import EvaluationSample, paired
from aggregator.operations.deliveries import SHELF
from headway.arrays import Bools
from headway.bundle import read_variant
from headway.errors import HeadwayError
from headway.wire import PublishedHead

# of the folder in which a service keeps a copy of what it served
SERVED = "served"
Samples = Mapping[str, EvaluationSample]


@dataclass(frozen=True, slots=True)
class ClassCompared:
    """One class in two heads.

    rows: of the sample; first, second: share of them that each head has right, 0..1; moved: how far its weights went,
    as a share of how long the first head's are. None where a head has no such class, or there is no sample.
    """

    name: str
    rows: int
    first: float | None
    second: float | None
    moved: float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """Two heads on one sample.

    rows: of it, 0 without one. first, second: share of right answers, 0..1. only_first, only_second: rows that one
    has right alone. gain: second less first; error: its standard error, paired.
    """

    rows: int
    first: float | None
    second: float | None
    only_first: int
    only_second: int
    gain: float | None
    error: float | None
    classes: tuple[ClassCompared, ...]


def samples_kept(state_dir: Path, served: Path | None = None) -> dict[str, EvaluationSample]:
    """Of the bundles of a state folder, by feature space; of several of one space that of the newest release.

    served: a bundle elsewhere. In no transaction: a bundle is checked when it is read.
    """
    files = [file for folder in (SERVED, SHELF) for file in sorted((state_dir / folder).glob("*.hwb"))]
    newest: dict[str, tuple[int, EvaluationSample]] = {}
    for release, sample in filter(None, map(_of_file, [*files, *([] if served is None else [served])])):
        if sample.space not in newest or newest[sample.space][0] <= release:
            newest[sample.space] = release, sample
    return {space: sample for space, (_, sample) in newest.items()}


def sample_of(bundle: Path) -> EvaluationSample | None:
    """None where the file is none that can be read, or carries no sample with classes."""
    found = _of_file(bundle)
    return None if found is None else found[1]


def _of_file(bundle: Path) -> tuple[int, EvaluationSample] | None:
    try:
        return _read(bundle, bundle.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=64)
def _read(bundle: Path, changed_ns: int) -> tuple[int, EvaluationSample] | None:
    """The release of a bundle and its sample: reading one checks it, which takes its time."""
    try:
        variant = read_variant(bundle)
    except HeadwayError:
        return None  # `edge-fleet serve` says why it cannot be read
    sample = EvaluationSample.of(variant)
    return None if sample is None else (variant.release, sample)


def share_right(head: PublishedHead, sample: EvaluationSample | None) -> float | None:
    """Share of right answers; None without a sample, or where the head is of other features."""
    right = None if sample is None else _right(head, sample)
    return None if right is None else float(right.mean())


def compared(first: PublishedHead, second: PublishedHead, sample: EvaluationSample | None) -> Compared:
    """Of the same feature space."""
    names = [*first.head.classes, *(name for name in second.head.classes if name not in first.head.classes)]
    one, two = (None, None) if sample is None else (_right(first, sample), _right(second, sample))
    if sample is None or one is None or two is None:
        return Compared(0, None, None, 0, 0, None, None, _classes(names, first, second, None))
    found = paired(one, two)
    return Compared(
        found.rows, float(one.mean()), float(two.mean()), found.only_first, found.only_second, found.gain, found.error,
        _classes(names, first, second, (sample, one, two)),
    )  # fmt: skip


def _right(head: PublishedHead, sample: EvaluationSample) -> Bools | None:
    return sample.right(head.head) if head.space == sample.space else None


def _classes(
    names: Sequence[str], first: PublishedHead, second: PublishedHead,
    scored: tuple[EvaluationSample, Bools, Bools] | None,
) -> tuple[ClassCompared, ...]:  # fmt: skip
    found = []
    for name in names:
        moved, rows = _moved(name, first, second), 0
        shares: tuple[float | None, float | None] = None, None
        if scored is not None and name in scored[0].classes:
            sample, one, two = scored
            own = sample.labels == sample.classes.index(name)
            rows = int(own.sum())
            shares = (float(one[own].mean()), float(two[own].mean())) if rows else (None, None)
        found.append(ClassCompared(name, rows, *shares, moved))
    return tuple(found)


def _moved(name: str, first: PublishedHead, second: PublishedHead) -> float | None:
    if name not in first.head.classes or name not in second.head.classes:
        return None
    before = first.head.kernel[:, first.head.classes.index(name)]
    after = second.head.kernel[:, second.head.classes.index(name)]
    length = float(np.linalg.norm(before))
    return float(np.linalg.norm(after - before)) / length if length else None
