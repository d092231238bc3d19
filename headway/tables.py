"""Tables as people have them: a .csv whose first line names the columns, for training and for replays."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float32
from headway.errors import DataError, listed
from headway.maths import hashed_text

LABEL_COLUMNS = ("label", "class", "target", "y", "activity")
TEXT_COLUMNS = 1024


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns are what. labels: those of y, by default the first that is called so; x: those of x, in order, by
    default all others; text: the column of short texts that x is made of; window: rows that make one window.
    """

    labels: tuple[str, ...] = ()
    x: tuple[str, ...] = ()
    text: str = ""
    window: int = 0


def read_table(path: Path, wanted: Columns) -> tuple[AnyArray, AnyArray]:
    """x float32 (n, columns), or (n, window, columns) of rows that follow each other under one label; and y.

    The first line names the columns. Empty cells are missing values. Raises DataError with file, line and fix.
    """
    rows, names, labels, columns = _opened(path, wanted)
    if wanted.text:
        x = hashed_text([row[names.index(wanted.text)] for row in rows[1:]], TEXT_COLUMNS)
    else:
        x = np.stack([_numbers(path, rows, names.index(name), name) for name in columns], axis=1).astype(np.float32)
    if len(labels) > 1:
        return x, np.stack([_numbers(path, rows, names.index(name), name) for name in labels], axis=1)
    y = _labels([row[names.index(labels[0])].strip() for row in rows[1:]])
    return (x, y) if not wanted.window else _windows(path, x, y, wanted.window)


def names_of_x(path: Path, wanted: Columns) -> tuple[str, ...]:
    """The columns that x is made of, in their order; none of hashed texts. Raises DataError as `read_table`."""
    _, _, _, columns = _opened(path, wanted)
    return () if wanted.text else tuple(columns)


def _opened(path: Path, wanted: Columns) -> tuple[list[list[str]], list[str], list[str], list[str]]:
    """All rows, the first with the names; the names; those of y; those of x."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            sample = file.read(4096)
            file.seek(0)
            delimiter = max(",;\t", key="".join(sample.strip().splitlines()[:1]).count)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(rows) < 2:
        raise DataError(f"{path} holds {len(rows)} lines; it needs a line of column names and one a sample")
    names = [name.strip() for name in rows[0]]
    labels = list(wanted.labels) or [name for name in names if name.lower() in LABEL_COLUMNS][:1]
    if not labels:
        raise DataError(f"{path} has columns {listed(names)}, none called label; name the one with y: --label COLUMN")
    columns = list(wanted.x) or [name for name in names if name not in labels]
    of_x = [wanted.text] if wanted.text else columns
    if not of_x:
        raise DataError(f"{path} has columns {listed(names)}, all of them labels; x needs one, too")
    used = [*labels, *of_x]
    for name in used:
        if name not in names:
            raise DataError(f"{path} has no column {name!r}; it has {listed(names)}")
        if names.count(name) > 1:
            raise DataError(f"{path} has {names.count(name)} columns called {name!r}; give them different names")
        if used.count(name) > 1:
            raise DataError(f"column {name!r} of {path} is asked for twice, among x and y; name it once")
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            raise DataError(f"{path} line {line} has {len(row)} cells; the first line names {len(names)} columns")
    return rows, names, labels, columns


def _numbers(path: Path, rows: Sequence[Sequence[str]], index: int, name: str) -> AnyArray:
    values = np.empty(len(rows) - 1, np.float64)
    for line, row in enumerate(rows[1:], start=2):
        text = row[index].strip()
        try:
            values[line - 2] = float(text) if text else np.nan
        except ValueError:
            raise DataError(
                f"{path} line {line}: {text[:40]!r} in column {name!r} is no number; name those of x: --columns A,B"
            ) from None
    return values


def _labels(texts: list[str]) -> AnyArray:
    """Numbers where all are numbers."""
    try:
        values = np.array([float(text) for text in texts])
    except ValueError:
        return np.array(texts)
    return values.astype(np.int64) if (values == np.floor(values)).all() else values


def _windows(path: Path, x: Float32, y: AnyArray, length: int) -> tuple[AnyArray, AnyArray]:
    """Windows of rows under one label, one after the other; rows left over at a change of label belong to none."""
    changes = np.flatnonzero(y[1:] != y[:-1]) + 1
    starts = [
        start
        for first, end in zip([0, *changes], [*changes, len(y)], strict=True)
        for start in range(first, end - length + 1, length)
    ]
    if not starts:
        raise DataError(f"{path} holds no {length} rows in a row under one label; give a smaller --window")
    return np.stack([x[start : start + length] for start in starts]), y[starts]
