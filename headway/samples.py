"""Reads labelled windows from ``.npz`` files, strictly: training data, recorded streams and spool files.

An ``.npz`` is a zip archive, so sizes are checked before anything is inflated, and pickled arrays are refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float32, Int64, describe
from headway.class_changes import ClassChanges
from headway.errors import DataError, LocalError, listed
from headway.fields import nearest
from headway.maths import Task

UNLABELLED = -1
Label = int | Float32
ID_CHARACTERS_MAX = 128


@dataclass(frozen=True, slots=True)
class Samples:
    """x: numeric (n, *input_shape); y: labels, or None without labels at all.

    One class per window: y int64 (n,), -1 where there is none. Several labels or values: y float32 (n, C), 0 or 1 or
    values, NaN where one is unknown; a row of NaN is no label.

    ids: a text per window, or None when nobody will come back to them. names: class names beyond those known, which
    y refers to by the indices that follow. x is None in a file that only brings labels for earlier windows, or changes
    of classes.
    """

    x: AnyArray | None
    y: AnyArray | None
    ids: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    changes: ClassChanges | None = None

    def __len__(self) -> int:
        given = self.x if self.x is not None else self.y
        return 0 if given is None else len(given)

    @property
    def has_windows(self) -> bool:
        """Whether there is anything to predict from."""
        return self.x is not None and len(self.x) > 0

    def windows(self, start: int, stop: int) -> Float32:
        """Some of the windows, to be asked for in order. float32 (stop - start, *input_shape)."""
        if self.x is None:
            raise LocalError("these samples have no windows")
        with np.errstate(over="ignore"):  # beyond float32 it becomes infinite, and so counts as missing
            return np.asarray(self.x[start:stop], np.float32)

    def close(self) -> None:
        """Let go of the file, where the windows are read from one."""


def read_samples(
    path: Path,
    classes: Sequence[str] | None,
    inflated_bytes_max: int = 4 << 30,
    *,
    new_classes: bool = False,
    label_files: bool = False,
    task: Task = Task.CLASSIFICATION,
    label_map: Mapping[str, str] | None = None,
) -> Samples:
    """Read ``x`` and optional ``y`` (class indices, -1 for none; or class names, '' for none) and ``id``.

    For a `task` with several labels or values per window ``y`` is a table of numbers, one column per class.
    `classes` gives the names that indices and texts refer to; None accepts any index >= -1. new_classes: names not
    among them are new classes instead of mistakes. label_files: a file may bring ``id`` and ``y`` alone, or changes of
    classes (headway/class_changes.py). label_map: class by the name it has in the file.
    Raises DataError, one line with the file, the value and the fix.
    """
    arrays = read_arrays(path, inflated_bytes_max)
    if label_files and not {"x", "y"} & set(arrays):
        try:
            changes = ClassChanges.read(arrays)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        if changes is not None:
            return Samples(None, None, changes=changes)
    if "x" not in arrays and not (label_files and {"id", "y"} <= set(arrays)):
        raise DataError(f"{path} holds {listed(arrays) if arrays else 'nothing'}; it needs an array 'x' of windows")
    x = arrays.get("x")
    if x is not None and (x.ndim < 2 or x.dtype.kind not in "fiub"):
        raise DataError(f"{path}: x is {describe(x)}; it must be numbers of shape (n, ...)")
    try:
        count = len(x) if x is not None else len(arrays["y"])
        ids = _ids(arrays["id"], count) if "id" in arrays else None
        names: tuple[str, ...] = ()
        if "y" not in arrays:
            return Samples(x, None, ids)
        y = _mapped(arrays["y"], label_map or {})
        if task is not Task.CLASSIFICATION and classes is not None:
            return Samples(x, targets_of(y, count, len(classes), task), ids)
        if new_classes and classes is not None and y.dtype.kind == "U":
            names = tuple(sorted({str(name) for name in y.tolist()} - {"", *classes}))
        return Samples(x, labels_of(y, count, None if classes is None else (*classes, *names)), ids, names)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _mapped(y: AnyArray, label_map: Mapping[str, str]) -> AnyArray:
    """Names as the classes have them."""
    if not label_map or y.dtype.kind != "U":
        return y
    return np.array([label_map.get(str(name), str(name)) for name in y.ravel().tolist()]).reshape(y.shape)


def is_labelled(y: AnyArray) -> AnyArray:
    """Which rows have a label, bool (n,). y: int64 (n,) or float32 (n, C)."""
    return np.asarray(y != UNLABELLED if y.ndim == 1 else ~np.isnan(y).all(axis=1))


def row_label(y: AnyArray, row: int) -> Label:
    """One row's label: an int, or float32 (C,)."""
    return int(y[row]) if y.ndim == 1 else y[row]


def class_index(label: Label) -> int:
    """The label of a classifier. Raises LocalError for targets."""
    if not isinstance(label, int):
        raise LocalError(f"a classifier takes one class per window, got targets {describe(label)}")
    return label


def same_label(one: Label, other: Label) -> bool:
    """Whether two labels say the same; unknown targets are alike."""
    if isinstance(one, int) or isinstance(other, int):
        return isinstance(one, int) and isinstance(other, int) and one == other
    return bool(np.array_equal(one, other, equal_nan=True))


def no_label(label: Label) -> bool:
    """Whether it says nothing: -1, or only NaN."""
    return label == UNLABELLED if isinstance(label, int) else bool(np.isnan(label).all())


def targets_of(y: AnyArray, count: int, outputs: int, task: Task) -> Float32:
    """Check targets. y: numbers (count, C), or (count,) when C is 1 -> float32 (count, C). NaN means unknown."""
    table = y[:, None] if y.ndim == 1 and outputs == 1 else y
    if table.shape != (count, outputs) or table.dtype.kind not in "fiub":
        raise DataError(
            f"y is {describe(y)}; a {task} model takes numbers of shape ({count}, {outputs}), NaN where one is unknown"
        )
    with np.errstate(over="ignore"):
        targets = table.astype(np.float32)
    known = ~np.isnan(targets)
    wrong = known & ~np.isin(targets, (0.0, 1.0)) if task is Task.MULTI_LABEL else known & ~np.isfinite(targets)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        allowed = "0, 1 or NaN" if task is Task.MULTI_LABEL else "finite or NaN"
        raise DataError(f"y of sample {row}, output {column} is {targets[row, column]}; it must be {allowed}")
    return targets


def labels_of(y: AnyArray, count: int, classes: Sequence[str] | None) -> Int64:
    """Check labels and turn names into indices. y: (count,) integers or texts -> int64 (count,)."""
    if y.shape != (count,):
        raise DataError(f"y is {describe(y)}; it must hold one label for each of the {count} samples")
    if y.dtype.kind == "U":
        return _indices_of_names(y, classes)
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((np.isfinite(y) & (y == np.floor(y))).all()))
    if not whole:
        raise DataError(f"y is {describe(y)}; labels are class indices (-1 for none) or class names ('' for none)")
    labels = y.astype(np.int64)
    high = len(classes) - 1 if classes is not None else np.iinfo(np.int32).max
    wrong = (labels < UNLABELLED) | (labels > high)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"label {int(labels[row])} of sample {row} is outside -1..{high}")
    return labels


def read_arrays(path: Path, inflated_bytes_max: int) -> dict[str, AnyArray]:
    """Every array of an ``.npz`` file, at most `inflated_bytes_max` bytes in all."""
    try:
        with zipfile.ZipFile(path) as archive:
            inflated = sum(member.file_size for member in archive.infolist())
        if inflated > inflated_bytes_max:
            raise DataError(f"{path} inflates to {inflated} bytes; at most {inflated_bytes_max} are accepted")
        with np.load(path, allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, NotImplementedError, MemoryError) as error:
        raise DataError(f"{path} is not a readable .npz file: {str(error)[:120]}") from error


def _ids(ids: AnyArray, count: int) -> tuple[str, ...]:
    if ids.shape != (count,) or ids.dtype.kind not in "iuU":
        raise DataError(f"id is {describe(ids)}; it must hold one whole number or text for each of the {count} samples")
    texts = tuple(str(item) for item in ids.tolist())
    if len(set(texts)) != count or any(not text or len(text) > ID_CHARACTERS_MAX for text in texts):
        raise DataError(f"ids must be different, with 1 to {ID_CHARACTERS_MAX} characters each")
    return texts


def _indices_of_names(y: AnyArray, classes: Sequence[str] | None) -> Int64:
    if classes is None:
        raise DataError("y holds class names, but no list of classes is known here; give indices")
    index = {name: position for position, name in enumerate(classes)} | {"": UNLABELLED}
    for row, name in enumerate(y.tolist()):
        if name not in index:
            raise DataError(f"label {name!r} of sample {row} is no class{nearest(name, tuple(classes))}")
    return np.array([index[name] for name in y.tolist()], dtype=np.int64)
