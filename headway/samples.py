"""Reads labelled windows from ``.npz`` files, strictly: training data, recorded streams and spool files.

Everything but the windows is small, checked and held in memory. Windows that would take much stay in the file, and are
read from it some at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import overload

import numpy as np

from headway.array_files import Arrays, StoredWindows
from headway.arrays import AnyArray, Float32, Float64, Int64, describe
from headway.class_changes import CHANGES, ClassChanges
from headway.errors import DataError, LocalError, listed
from headway.fields import TOLD_MAX, nearest
from headway.maths import Task
from headway.npz import Archive, read_arrays
from headway.printable import printable
from headway.sample_members import CLASSES, FROM, IDS, LABELS, TO, WINDOWS, members_to_read

__all__ = [
    "ANY_BYTES",
    "UNLABELLED",
    "Ids",
    "Label",
    "Samples",
    "class_index",
    "is_labelled",
    "labels_of",
    "no_label",
    "read_arrays",
    "read_samples",
    "row_label",
    "same_label",
    "targets_of",
]

UNLABELLED = -1
Label = int | Float32
ID_CHARACTERS_MAX = 128
ANY_BYTES = 4 << 30
# of a single one in a file whose windows are not all held in memory
WINDOW_BYTES_MAX = 2 << 20
NAMES_A_BLOCK = 1 << 16


class Ids(Sequence[str]):
    """Names of windows, all different, in the compact form that they have in a file; a slice is a tuple of texts."""

    def __init__(self, values: AnyArray) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...
    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(map(str, self._values[at].tolist()))
        return str(self._values[at])


@dataclass(frozen=True, slots=True)
class Samples:
    """x: numeric (n, *input_shape); y: labels, or None without labels at all.

    One class per window: y int64 (n,), -1 where there is none. Several labels or values: y float32 (n, C), 0 or 1 or
    values, NaN where one is unknown; a row of NaN is no label.

    ids: a text per window, or None when nobody will come back to them. names: class names beyond those known, which
    y refers to by the indices that follow. x is None in a file that only brings labels for earlier windows, or changes
    of classes. unread: names of arrays that mean nothing here. ids_made: the reader has made the ids, so that only the
    answer can tell them. spans: float64 (n, 2), from when to when a label holds, in seconds since 1970, of a file that
    brings labels so instead of by ids. ends_s: float64 (n,), when the windows ended, where the file tells.

    Windows may be left in their file until `windows` reads them; only who has read the last one knows that none is
    damaged. Close the samples, or use them in a ``with``.
    """

    x: AnyArray | StoredWindows | None
    y: AnyArray | None
    ids: Sequence[str] | None = None
    names: tuple[str, ...] = ()
    changes: ClassChanges | None = None
    unread: tuple[str, ...] = ()
    ids_made: bool = False
    spans: Float64 | None = None
    ends_s: Float64 | None = None

    def __len__(self) -> int:
        given = self.x if self.x is not None else self.y
        return 0 if given is None else len(given)

    def __enter__(self) -> Samples:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def has_windows(self) -> bool:
        """Whether there is anything to predict from."""
        return self.x is not None and len(self.x) > 0

    def windows(self, start: int, stop: int) -> Float32:
        """Some of the windows, to be asked for in order. float32 (stop - start, *input_shape).

        Raises DataError when the file is damaged there, or was changed or cut short by somebody.
        """
        if self.x is None:
            raise LocalError("these samples have no windows")
        with np.errstate(over="ignore"):  # beyond float32 it becomes infinite, and so counts as missing
            return np.asarray(self.x[start:stop], np.float32)

    def close(self) -> None:
        """Let go of the file, where the windows are read from one."""
        if self.x is not None and not isinstance(self.x, np.ndarray):
            self.x.close()


def read_samples(
    source: Path | Arrays,
    classes: Sequence[str] | None,
    inflated_bytes_max: int = ANY_BYTES,
    *,
    new_classes: bool = False,
    label_files: bool = False,
    task: Task = Task.CLASSIFICATION,
    label_map: Mapping[str, str] | None = None,
    labels_bytes_max: int = ANY_BYTES,
    held_bytes_max: int = ANY_BYTES,
) -> Samples:
    """Read ``x`` and optional ``y`` (class indices, -1 for none; or class names, '' for none) and ``id``.

    For a `task` with several labels or values per window ``y`` is a table of numbers, one column per class.
    `classes` gives the names that indices and texts refer to; None accepts any index >= -1. new_classes: names not
    among them are new classes instead of mistakes. label_files: a file may bring ``id`` and ``y`` alone, or changes of
    classes (headway/class_changes.py). label_map: class by the name it has in the file.

    inflated_bytes_max: of a path's arrays; labels_bytes_max: of all but the windows; held_bytes_max: windows that take
    more stay in the file. An archive is the samples' own from now on, also when this raises.
    Raises DataError, one line with the file, the value and the fix.
    """
    archive = Archive.open(source, inflated_bytes_max) if isinstance(source, Path) else source
    with contextlib.ExitStack() as stack:
        stack.callback(archive.close)
        with _named(archive.where):
            found = members_to_read(archive.where, archive.names, label_files=label_files)
            _check_size(archive, found, labels_bytes_max)
            changes = ClassChanges.read({name: archive.array(name) for name in found if name in CHANGES})
            unread = tuple(name for name in archive.names if name not in found)
            if changes is not None:
                return Samples(None, None, changes=changes, unread=unread)
            x = _windows(archive, held_bytes_max) if WINDOWS in found else None
            y = archive.array(LABELS) if LABELS in found else None
            given = x if x is not None else y
            count = 0 if given is None or not given.ndim else len(given)
            ids = _ids(archive.array(IDS), count) if IDS in found else None
            spans = _spans(archive.array(FROM), archive.array(TO), count) if FROM in found else None
            names: tuple[str, ...] = ()
            if y is not None and task is not Task.CLASSIFICATION and classes is not None:
                y = targets_of(y, count, len(classes), task)
            elif y is not None:
                if CLASSES in found and classes is not None and y.dtype.kind != "U":
                    _check_order(archive.array(CLASSES), classes)
                if new_classes and classes is not None and y.dtype.kind == "U":
                    there = {(label_map or {}).get(name, name) for name in map(str, np.unique(y).tolist())}
                    names = tuple(sorted(there - {"", *classes}))
                y = labels_of(y, count, None if classes is None else (*classes, *names), label_map)
        if x is not None and not isinstance(x, np.ndarray):
            stack.pop_all()  # the samples close it
        return Samples(x, y, ids, names, unread=unread, spans=spans)


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """Errors begin with the file's name, once."""
    try:
        yield
    except DataError as error:
        text = str(error)
        raise DataError(text if printable(where) in text else f"{where}: {text}") from error


def _check_size(archive: Arrays, found: frozenset[str], labels_bytes_max: int) -> None:
    small = sorted(found - {WINDOWS})
    size_bytes = sum(map(archive.size_bytes, small))
    if size_bytes > labels_bytes_max:
        raise DataError(f"{listed(small)} take {size_bytes} bytes; at most {labels_bytes_max} are accepted "
                        "(labels_bytes_max); write more files")  # fmt: skip


def _windows(archive: Arrays, held_bytes_max: int) -> AnyArray | StoredWindows:
    """The windows, in memory or not."""
    stored = archive.stored(WINDOWS)
    what = f"x is {stored.dtype} {stored.shape}"
    if stored.ndim < 2 or stored.dtype.kind not in "fiub":
        raise DataError(f"{what}; it must be numbers of shape (n, ...)")
    if stored.nbytes == 0:
        raise DataError(f"{what}; it holds no windows")
    if stored.nbytes <= held_bytes_max:
        return stored.whole()
    if stored.fortran_order:
        raise DataError(f"{what} in Fortran order, which is read up to {held_bytes_max} bytes; "
                        "write numpy.ascontiguousarray(x)")  # fmt: skip
    if stored.nbytes // len(stored) > WINDOW_BYTES_MAX:
        raise DataError(f"{what}; a window may have {WINDOW_BYTES_MAX} bytes")
    return stored


def _check_order(given: AnyArray, classes: Sequence[str]) -> None:
    """Indices mean another class where the file's own classes come in another order."""
    if given.tolist() != list(classes):
        its, ours = given.ravel().tolist()[:8], list(classes)[:8]
        raise DataError(f"its classes are {its}, not {ours} in this order; give y as names")


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
    """Check targets. y: numbers (count, C), or (count,) when C is 1 -> float32 (count, C). NaN means unknown.

    Empty texts (count,) are rows of which nothing is known.
    """
    if y.dtype.kind == "U" and y.shape == (count,) and not (y != "").any():
        return np.full((count, outputs), np.nan, np.float32)
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


def labels_of(
    y: AnyArray, count: int, classes: Sequence[str] | None, label_map: Mapping[str, str] | None = None
) -> Int64:
    """Check labels and turn names into indices. y: (count,) integers or texts -> int64 (count,).

    label_map: class by the name it has in `y`.
    """
    if y.shape != (count,):
        raise DataError(f"y is {describe(y)}; it must hold one label for each of the {count} samples")
    if y.dtype.kind == "U":
        return _indices_of_names(y, classes, label_map or {})
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


def _ids(ids: AnyArray, count: int) -> Ids:
    if ids.shape != (count,) or ids.dtype.kind not in "iuU":
        raise DataError(f"id is {describe(ids)}; it must hold one whole number or text for each of the {count} samples")
    ordered = np.sort(ids)
    wrong_length = ids.dtype.kind == "U" and not all(
        0 < len(text) <= ID_CHARACTERS_MAX for block in _blocks(ids) for text in block
    )
    if wrong_length or (ordered[1:] == ordered[:-1]).any():
        raise DataError(f"ids must be different, with 1 to {ID_CHARACTERS_MAX} characters each")
    return Ids(ids)


def _spans(begin: AnyArray, end: AnyArray, count: int) -> Float64:
    for name, array in ((FROM, begin), (TO, end)):
        if array.shape != (count,) or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise DataError(f"{name} is {describe(array)}; it must hold a time in seconds since 1970 for each of the "
                            f"{count} labels")  # fmt: skip
    spans = np.stack([begin, end], axis=1).astype(np.float64)
    backwards = np.flatnonzero(spans[:, 0] >= spans[:, 1])
    if len(backwards):
        row, (first_s, last_s) = int(backwards[0]), spans[backwards[0]].tolist()
        raise DataError(f"label {row} holds from {first_s:.0f} to {last_s:.0f}; the end must come later")
    return spans


def _indices_of_names(y: AnyArray, classes: Sequence[str] | None, label_map: Mapping[str, str]) -> Int64:
    if classes is None:
        raise DataError("y holds class names, but no list of classes is known here; give indices")
    index = {name: position for position, name in enumerate(classes)} | {"": UNLABELLED}
    labels = np.empty(len(y), np.int64)
    row = 0
    for block in _blocks(y):
        for given in block:
            name = label_map.get(given, given)
            if name not in index:
                raise DataError(f"label {name[:TOLD_MAX]!r} of sample {row} is no class{nearest(name, tuple(classes))}")
            labels[row] = index[name]
            row += 1
    return labels


def _blocks(texts: AnyArray) -> Iterator[list[str]]:
    """Texts as Python has them, which takes many times their bytes, some at a time."""
    for start in range(0, len(texts), NAMES_A_BLOCK):
        yield texts[start : start + NAMES_A_BLOCK].tolist()
