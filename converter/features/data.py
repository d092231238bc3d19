"""The labelled windows a conversion is fitted and proven on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.features.readers import Reading, read_csv, read_folder
from converter.options import CLASSES_MAX, NONE, Options
from converter.recipe import read_stream
from headway.arrays import AnyArray, Float32, Int64, describe
from headway.errors import DataError, listed
from headway.maths import Task
from headway.samples import UNLABELLED, labels_of, read_arrays
from headway.stream import StreamFormat
from headway.tables import Table, is_table

INFLATED_BYTES_MAX = 16 << 30
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """x: numeric (n, *input_shape), may hold NaN for missing values; classes: names of the model's outputs, in order.

    y: int64 (n,), one label each; or, with `targets`, all -1.
    targets: float32 (n, C), several labels at once (0 or 1) or regression values; None for one-label data.
    given: y as it came, which the head may give another meaning (converter/features/meaning.py); None when y and
    targets are settled. named: whether the user named the classes, else they are y's own names in alphabetical order,
    or numbers. columns, labels: of a table, the names of the columns of x and y; notes: what looks odd about the data,
    in lines. stride: of windows cut from a table, rows from the beginning of one to that of the next; else 0.
    """

    x: AnyArray
    y: Int64
    classes: tuple[str, ...]
    targets: Float32 | None = None
    given: AnyArray | None = None
    named: bool = True
    columns: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stride: int = 0

    @property
    def overlap(self) -> int:
        """How many of the windows after one share rows with it."""
        return -(-self.x.shape[1] // self.stride) - 1 if self.stride else 0

    def told_by(self, other: TrainingData | Table) -> TrainingData:
        """The same with what a table told: names of columns, notes, how windows follow each other. other: that table,
        or data that was read from it."""
        return replace(self, columns=other.columns, labels=other.labels, notes=other.notes, stride=other.stride)


Data = TrainingData | str | Path | tuple[AnyArray, AnyArray] | tuple[AnyArray, AnyArray, Sequence[str]]


def as_training_data(data: Data, classes: Sequence[str] = (), reading: Reading | None = None) -> TrainingData:
    """From the path of an .npz, a .csv or a folder, from (x, y) or (x, y, classes), or as it is. Raises DataError.

    classes: names in the order of the model's outputs; they go before those of the data. reading: of files that do
    not say everything themselves.
    """
    made = _made(data, reading or Reading())
    if not classes or tuple(classes) == made.classes:
        return replace(made, named=True) if classes else made
    if made.named:
        raise DataError(f"the data names its classes {listed(made.classes)}; leave --classes out, or give the same")
    again = training_data(made.x, made.y if made.given is None else made.given, classes)
    return again.told_by(made)


def reading(options: Options, stream: StreamFormat | None = None) -> Reading:
    """How data that does not say everything itself is read. stream: what `--stream` says, where it was read before."""
    height_width = (options.image_size[0], options.image_size[1]) if options.image_size else None
    rate_hz = 0.0 if options.front_end == "none" else options.rate_hz
    stride = options.stride
    if options.window and not stride and options.stream is not None:
        stride = (stream or read_stream(options.stream)).hop  # as the device will cut them
    return Reading(options.label_columns, options.columns, options.text_column, options.window, stride, height_width,
                   options.features != (NONE,), rate_hz, options.without_columns,
                   options.task == Task.REGRESSION, options.skip_unlabelled)  # fmt: skip


def _made(data: Data, reading: Reading) -> TrainingData:
    if isinstance(data, TrainingData):
        return data
    if isinstance(data, (str, Path)):
        path = Path(data)
        if path.is_dir():
            return training_data(*read_folder(path, reading))
        if not is_table(path):
            return read_training_data(path)
        table = read_csv(path, reading)
        return training_data(table.x, table.y).told_by(table)
    if not isinstance(data, tuple) or len(data) not in (2, 3):
        kind = type(data).__name__
        raise DataError(f"data is a {kind}; give the path of an .npz, a .csv or a folder, (x, y) or (x, y, classes)")
    x: Any = data[0]
    if np.ma.isMaskedArray(x):  # what is masked is missing
        x = np.ma.filled(x.astype(np.float32), np.nan)
    return training_data(np.asarray(x), np.asarray(data[1]), *data[2:])


def table_of(path: Path, reading: Reading) -> TrainingData:
    """Of a table without a model, whatever its file is called: `settled_alone` says what its y is. Raises DataError."""
    table = read_csv(path, reading)
    _refuse_empty(table.x)
    none = np.full(len(table.x), UNLABELLED)
    return TrainingData(table.x, none, (), given=table.y, named=False).told_by(table)


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
    if isinstance(classes, str):
        raise DataError(f"classes is the text {classes[:40]!r}; give a list of names")
    classes = None if classes is None else [str(name) for name in classes]
    if classes is not None and (len(set(classes)) != len(classes) or not all(classes) or not len(classes)):
        raise DataError(f"classes must be different, non-empty names, got {list(classes)[:10]}")
    _refuse_empty(x)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    if y.dtype.kind == "O":  # what pandas gives for a column of names
        own = y.ravel().tolist()
        y = np.array(own if all(isinstance(label, int) for label in own) else list(map(str, own))).reshape(y.shape)
    if y.shape == (len(x), 1) and (y.dtype.kind == "U" or (classes is not None and len(classes) > 1)):
        y = y[:, 0]
    if y.dtype.kind in "fiub" and (y.ndim == 2 or _is_value(y, classes)):
        return _with_targets(x, y, classes)
    named = classes is not None
    if classes is None:
        classes = sorted(set(y.tolist())) if y.dtype.kind == "U" else _numbered(y)
    names = tuple(classes)
    labels = labels_of(y, len(x), names)
    if (labels < 0).any():
        raise DataError(f"sample {int((labels < 0).argmax())} has no label; every training sample needs one")
    if len(np.unique(labels)) < 2:
        raise DataError(f"all samples are of class {names[labels[0]]!r}; a classifier needs at least two classes")
    return TrainingData(x, labels, names, given=y, named=named)


def _with_targets(x: AnyArray, y: AnyArray, classes: Sequence[str] | None) -> TrainingData:
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        targets = np.asarray(y if y.ndim == 2 else y[:, None], np.float32)
    names = tuple(classes or map(str, range(targets.shape[1])))
    if targets.shape != (len(x), len(names)):
        raise DataError(f"y is {describe(y)}; it must hold {len(names)} values for each of the {len(x)} samples")
    if not np.isfinite(targets).all():
        raise DataError(f"y of sample {int((~np.isfinite(targets)).any(axis=1).argmax())} is not finite; remove it")
    if (targets == targets[0]).all():
        raise DataError("y is the same for every sample; there is nothing to learn from it")
    return TrainingData(x, np.full(len(x), -1, np.int64), names, targets, given=y, named=classes is not None)


def _refuse_empty(x: AnyArray) -> None:
    # beyond float32, as devices take windows, a value is none
    if x.dtype.kind == "f":
        flat = x.reshape(len(x), -1)
        held = np.isfinite(flat) if x.itemsize <= 4 else (flat <= FLOAT32_MAX) & (flat >= -FLOAT32_MAX)
        empty = ~held.any(axis=1)
        if empty.any():
            raise DataError(f"sample {int(empty.argmax())} has no finite value; remove it")


def _is_value(y: AnyArray, classes: Sequence[str] | None) -> bool:
    """Numbers (n,) that no class can have: fractions, or, where no classes are named, far outside of any indices."""
    if y.ndim != 1:
        return False
    finite = y[np.isfinite(y)] if y.dtype.kind == "f" else y
    beyond = finite.size > 0 and (finite.min() < UNLABELLED or finite.max() >= CLASSES_MAX)
    return bool((y.dtype.kind == "f" and (finite != np.floor(finite)).any()) or (classes is None and beyond))


def _numbered(y: AnyArray) -> list[str]:
    highest = int(y.max()) if y.size and y.dtype.kind in "iubf" and np.isfinite(y.astype(float)).all() else 0
    return [str(index) for index in range(max(highest, 0) + 1)]
