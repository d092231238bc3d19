"""The labelled windows a conversion is fitted and proven on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Int64, describe
from headway.errors import DataError
from headway.samples import labels_of, read_arrays

INFLATED_BYTES_MAX = 16 << 30


@dataclass(frozen=True, slots=True)
class TrainingData:
    """x: numeric (n, *input_shape), may hold NaN for missing values; y: int64 (n,); classes: names in index order."""

    x: AnyArray
    y: Int64
    classes: tuple[str, ...]


def read_training_data(path: Path) -> TrainingData:
    """Read ``x``, ``y`` and optional ``classes`` from an ``.npz``. Raises DataError, one line."""
    arrays = read_arrays(path, INFLATED_BYTES_MAX)
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(f"{path} holds {sorted(arrays) or 'nothing'}; it needs arrays 'x' and 'y'")
    classes = [str(name) for name in arrays["classes"].tolist()] if "classes" in arrays else None
    try:
        return training_data(arrays["x"], arrays["y"], classes)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def training_data(x: AnyArray, y: AnyArray, classes: Sequence[str] | None = None) -> TrainingData:
    """Check arrays given by a program; names are made up from indices, or taken from text labels, when absent."""
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise DataError(f"x is {describe(x)}; it must be numbers of shape (n, ...)")
    if not len(x):
        raise DataError("x holds no sample; give the data the model was trained on")
    if classes is None:
        classes = sorted(set(y.tolist())) if y.dtype.kind == "U" else _numbered(y)
    names = tuple(classes)
    if len(set(names)) != len(names) or not all(names):
        raise DataError(f"classes must be different, non-empty names, got {list(names)[:10]}")
    labels = labels_of(y, len(x), names)
    if (labels < 0).any():
        raise DataError(f"sample {int((labels < 0).argmax())} has no label; every training sample needs one")
    if len(np.unique(labels)) < 2:
        raise DataError(f"all samples are of class {names[labels[0]]!r}; a classifier needs at least two classes")
    empty = ~np.isfinite(x.reshape(len(x), -1)).any(axis=1) if x.dtype.kind == "f" else np.zeros(len(x), bool)
    if empty.any():
        raise DataError(f"sample {int(empty.argmax())} has no finite value; remove it")
    return TrainingData(x, labels, names)


def _numbered(y: AnyArray) -> list[str]:
    highest = int(y.max()) if y.size and y.dtype.kind in "iubf" and np.isfinite(y.astype(float)).all() else 0
    return [str(index) for index in range(max(highest, 0) + 1)]
