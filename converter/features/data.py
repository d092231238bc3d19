"""The labelled windows a conversion is fitted and proven on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float32, Int64, describe
from headway.errors import DataError
from headway.samples import labels_of, read_arrays

INFLATED_BYTES_MAX = 16 << 30


@dataclass(frozen=True, slots=True)
class TrainingData:
    """x: numeric (n, *input_shape), may hold NaN for missing values; classes: names of the model's outputs, in order.

    y: int64 (n,), one label each; or, with `targets`, all -1.
    targets: float32 (n, C), several labels at once (0 or 1) or regression values; None for one-label data.
    """

    x: AnyArray
    y: Int64
    classes: tuple[str, ...]
    targets: Float32 | None = None


Data = TrainingData | str | Path | tuple[AnyArray, AnyArray] | tuple[AnyArray, AnyArray, Sequence[str]]


def as_training_data(data: Data) -> TrainingData:
    """From the path of an .npz, from (x, y) or (x, y, classes), or as it is. Raises DataError."""
    if isinstance(data, TrainingData):
        return data
    if isinstance(data, (str, Path)):
        return read_training_data(Path(data))
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        raise DataError(f"data is a {type(data).__name__}; give the path of an .npz, (x, y) or (x, y, classes)")
    return training_data(np.asarray(data[0]), np.asarray(data[1]), *data[2:])


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
    """Check arrays given by a program; names are made up from indices, or taken from text labels, when absent.

    y: (n,) class indices or names; (n, C) of 0 and 1 for several labels at once; (n, C) or fractions (n,) for values.
    """
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise DataError(f"x is {describe(x)}; it must be numbers of shape (n, ...)")
    if not len(x):
        raise DataError("x holds no sample; give the data the model was trained on")
    if classes is not None and (len(set(classes)) != len(classes) or not all(classes) or not len(classes)):
        raise DataError(f"classes must be different, non-empty names, got {list(classes)[:10]}")
    _refuse_empty(x)
    if y.ndim == 2 or _fractional(y):
        return _with_targets(x, y, classes)
    if classes is None:
        classes = sorted(set(y.tolist())) if y.dtype.kind == "U" else _numbered(y)
    names = tuple(classes)
    labels = labels_of(y, len(x), names)
    if (labels < 0).any():
        raise DataError(f"sample {int((labels < 0).argmax())} has no label; every training sample needs one")
    if len(np.unique(labels)) < 2:
        raise DataError(f"all samples are of class {names[labels[0]]!r}; a classifier needs at least two classes")
    return TrainingData(x, labels, names)


def _with_targets(x: AnyArray, y: AnyArray, classes: Sequence[str] | None) -> TrainingData:
    targets = np.asarray(y if y.ndim == 2 else y[:, None], np.float32)
    names = tuple(classes or map(str, range(targets.shape[1])))
    if targets.shape != (len(x), len(names)):
        raise DataError(f"y is {describe(y)}; it must hold {len(names)} values for each of the {len(x)} samples")
    if not np.isfinite(targets).all():
        raise DataError(f"y of sample {int((~np.isfinite(targets)).any(axis=1).argmax())} is not finite; remove it")
    if (targets == targets[0]).all():
        raise DataError("y is the same for every sample; there is nothing to learn from it")
    return TrainingData(x, np.full(len(x), -1, np.int64), names, targets)


def _refuse_empty(x: AnyArray) -> None:
    if x.dtype.kind == "f":
        empty = ~np.isfinite(x.reshape(len(x), -1)).any(axis=1)
        if empty.any():
            raise DataError(f"sample {int(empty.argmax())} has no finite value; remove it")


def _fractional(y: AnyArray) -> bool:
    if y.ndim != 1 or y.dtype.kind != "f":
        return False
    finite = y[np.isfinite(y)]
    return bool((finite != np.floor(finite)).any())


def _numbered(y: AnyArray) -> list[str]:
    highest = int(y.max()) if y.size and y.dtype.kind in "iubf" and np.isfinite(y.astype(float)).all() else 0
    return [str(index) for index in range(max(highest, 0) + 1)]
