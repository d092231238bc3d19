"""Tables as people have them: a .csv whose first line names the columns, for training and for replays.

Read as spreadsheets and statistics programs write them: commas, semicolons, tabs or | between cells, decimal commas
where semicolons separate, true and false as 1 and 0, UTF-8 or UTF-16 with or without a byte order mark, and the usual
words for a missing value.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headway.arrays import AnyArray, Float32, Float64
from headway.errors import DataError, listed, reason
from headway.maths import hashed_text

LABEL_COLUMNS = ("label", "class", "target", "y", "activity")
TEXT_COLUMNS = 1024
# in any case of letters; of names as labels only the empty cell is: "NA" and "None" may be names
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-"})
TRUTHS = {"true": 1.0, "false": 0.0}  # as pandas writes columns of 0 and 1; as names of classes they are names
SEPARATORS = ",;\t|"
VALUES_MIN = 32  # more different numbers than that, some with fractions, are values, and a word among them is a mistake
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
LEADING_ZERO = re.compile(r"[+-]?0\d+")
INTEGER_MAX, DIGITS_MAX = 2**53, 16  # beyond it float64 has gaps, and such a number is a name
# of a column's deviation, how coarse float32 may hold its values
COARSE = 0.01


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns are what. labels: those of y, by default the first that is called so; x: those of x, in order, by
    default all others that have a name; without: those that are neither; text: the column of short texts that x is made
    of; window: rows that make one window; values: y are values, so that a window has the y of its last row; stride:
    rows from the beginning of a window to that of the next, 0 for `window`.
    """

    labels: tuple[str, ...] = ()
    x: tuple[str, ...] = ()
    text: str = ""
    window: int = 0
    without: tuple[str, ...] = ()
    values: bool = False
    stride: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """x: float32 (n, columns), or (n, window, columns). y: names (n,), empty where there is none; int64 (n,) where all
    are whole numbers; else float64 (n,), or (n, C) of several columns, NaN where there is none.

    columns: the names of those of x, none of hashed texts; labels: of those of y; notes: what looks odd, in lines;
    stride: rows from the beginning of a window to that of the next, 0 where x is no windows.
    """

    x: AnyArray
    y: AnyArray
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    notes: tuple[str, ...] = ()
    stride: int = 0


def is_table(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in (".csv", ".tsv", ".txt")


def read_table(path: Path, wanted: Columns, *, every_label: bool = False) -> Table:
    """The first line names the columns; rows are in order of time where that matters.

    Windows are of rows that follow each other under one label, one window after the other or every `stride` rows; of
    values, of all rows that follow each other. every_label: raise where a row has none. Raises DataError with file,
    line and fix.
    """
    opened = _Opened.of(path, wanted)
    if wanted.text:
        x = hashed_text(opened.cells(wanted.text), TEXT_COLUMNS)
    else:
        opened.refuse_words()
        numbers = np.stack([opened.numbers(name) for name in opened.columns], axis=1)
        with np.errstate(over="ignore"):  # what float32 cannot hold counts as missing
            x = numbers.astype(np.float32)
    y = opened.labels_of(every_label)
    columns = () if wanted.text else tuple(opened.columns)
    notes = [*opened.notes, *([] if wanted.text else _odd_columns(numbers, columns))]
    stride = (wanted.stride or wanted.window) if wanted.window else 0
    if stride:
        x, y = _windows(path, x, y, wanted, stride)
    return Table(x, y, columns, tuple(opened.labels), tuple(notes), stride)


def names_of(y: AnyArray) -> AnyArray:
    """Labels (n,) as names: whole numbers in digits, empty where there is none. Fractions are no names."""
    if y.dtype.kind == "U":
        return y
    return np.array(["" if np.isnan(value) else str(int(value)) for value in y.tolist()])


def are_whole(values: AnyArray) -> bool:
    """Whether all are whole numbers, and float64 holds them and those beside them."""
    return bool(((np.abs(values) <= INTEGER_MAX) & (values == np.floor(values))).all())


@dataclass(frozen=True, slots=True)
class _Opened:
    """rows: those below the names; lines: of each, where it ends in the file; comma: of decimals."""

    path: Path
    names: list[str]
    rows: list[list[str]]
    lines: list[int]
    labels: list[str]
    columns: list[str]
    comma: bool
    notes: list[str]

    @classmethod
    def of(cls, path: Path, wanted: Columns) -> _Opened:
        rows, spans, delimiter = _read(path)
        if len(rows) < 2:
            found = "only the line of column names" if rows else "no line"
            raise DataError(f"{path} holds {found}; it needs a line of column names and one a sample")
        names = [name.strip() for name in rows[0]]
        named = [name for name in names if name]
        alone = "" if len(named) > 1 else "; between cells there must be commas, semicolons, tabs or |"
        labels = list(wanted.labels) or [name for name in named if name.lower() in LABEL_COLUMNS][:1]
        if not labels:
            raise DataError(
                f"{path} has columns {listed(named)}, none called label; name the one with y: --label COLUMN{alone}"
            )
        of_x = [wanted.text] if wanted.text else list(wanted.x)
        columns = of_x or [name for name in named if name not in labels and name not in wanted.without]
        if not columns:
            raise DataError(f"{path} has columns {listed(named)}, all of them labels or left out; x needs one, too")
        used = [*labels, *columns]
        for name in [*used, *wanted.without]:
            if name not in names:
                raise DataError(f"{path} has no column {name!r}; it has {listed(named)}{alone}")
            if names.count(name) > 1 and name in used:
                raise DataError(f"{path} has {names.count(name)} columns called {name!r}; give them different names")
            if used.count(name) > 1 or (name in used and name in wanted.without):
                raise DataError(f"column {name!r} of {path} is asked for twice, among x and y; name it once")
        for (first, line), row in zip(spans[1:], rows[1:], strict=True):
            if len(row) != len(names):
                where = f"line {line}" if line == first else f"lines {first} to {line} are one row that"
                quoted = "" if line == first else "; is a quote not closed?"
                raise DataError(
                    f"{path} {where} has {len(row)} cells; the first line names {len(names)} columns{quoted}"
                )
        nameless = [str(place) for place, name in enumerate(names, 1) if not name]
        notes = []
        if nameless and not of_x:
            notes.append(f"column {', '.join(nameless)} of {path.name} has no name and is not used")
        return cls(path, names, rows[1:], [line for _, line in spans[1:]], labels, columns, delimiter == ";", notes)

    def cells(self, name: str) -> list[str]:
        at = self.names.index(name)
        return [row[at].strip() for row in self.rows]

    def refuse_words(self) -> None:
        """Raises DataError that names all columns of x that begin with something else than numbers."""
        found = []
        for name in self.columns:
            cell = next((cell for cell in self.cells(name) if cell.lower() not in MISSING_WORDS), "0")
            if np.isnan(self._value(cell)):
                found.append((name, cell))
        if found:
            self._refuse_decimal_comma(*found[0])
            which = f"column {found[0][0]!r}" if len(found) == 1 else f"columns {listed([name for name, _ in found])}"
            raise DataError(
                f"{self.path}: {which} of x hold no numbers but such as {found[0][1][:40]!r}; leave out what is no "
                f"number: --without {','.join(name for name, _ in found)}"
            )

    def numbers(self, name: str) -> Float64:
        """A column, NaN where there is none; infinite values stay. Raises DataError."""
        values = np.empty(len(self.rows), np.float64)
        pointed = ""
        for row, cell in enumerate(self.cells(name)):
            values[row] = np.nan if cell.lower() in MISSING_WORDS else self._value(cell)
            if np.isnan(values[row]) and cell.lower() not in MISSING_WORDS:
                self._refuse_decimal_comma(name, cell)
                raise DataError(
                    f"{self.path} line {self.lines[row]}: {cell[:40]!r} in column {name!r} is no number; correct it, "
                    f"or leave the column out: --without {name}"
                )
            pointed = pointed or (cell if "." in cell else "")
        if pointed and self.comma and any("," in cell for cell in self.cells(name)):
            raise DataError(
                f"{self.path}: column {name!r} has decimal commas and {pointed[:40]!r}; write numbers without points "
                "between thousands"
            )
        return values

    def _refuse_decimal_comma(self, name: str, cell: str) -> None:
        """Raises DataError where it is one, and commas or tabs separate cells: 1,234 may be of thousands there."""
        if not self.comma and DECIMAL_COMMA.fullmatch(cell):
            raise DataError(
                f"{self.path}: column {name!r} holds {cell[:40]!r}; decimal commas are read where semicolons are "
                "between cells: save it so, or write decimal points"
            )

    def labels_of(self, every_label: bool) -> AnyArray:
        """As `Table.y`, of single rows."""
        y = np.stack([self.numbers(name) for name in self.labels], axis=1) if len(self.labels) > 1 else self._label()
        none = y == "" if y.dtype.kind == "U" else np.isnan(y)
        none = none if none.ndim == 1 else none.any(axis=1)
        if every_label and none.any():
            row, which = int(none.argmax()), listed(self.labels) if len(self.labels) > 1 else repr(self.labels[0])
            raise DataError(
                f"{self.path} line {self.lines[row]} has no label in {which} ({int(none.sum())} of {len(y)} rows have "
                "none); every row to train on needs one: fill it, or leave such rows out: --skip-unlabelled"
            )
        return y

    def _label(self) -> AnyArray:
        cells = self.cells(self.labels[0])
        known = [cell for cell in cells if cell.lower() not in MISSING_WORDS]
        numbers = all(np.isfinite(self._number(cell)) for cell in known)
        # digits that are no number: of an article, a place, a card
        ids = any(LEADING_ZERO.fullmatch(cell) or (cell.isdecimal() and _is_beyond(cell)) for cell in known)
        if not known or not numbers or ids:
            self._refuse_word_among_values(cells)
            return np.array(cells)
        found = np.array([np.nan if cell.lower() in MISSING_WORDS else self._number(cell) for cell in cells])
        return found.astype(np.int64) if are_whole(found) else found

    def _refuse_word_among_values(self, cells: list[str]) -> None:
        """Raises DataError where nearly all labels are values: then a word is no name, but a mistake."""
        found = np.array([self._number(cell) for cell in cells])
        there = np.isfinite(found)
        values = np.unique(found[there])
        if len(values) <= VALUES_MIN or are_whole(values):
            return
        for row, cell in enumerate(cells):
            if not there[row] and cell.lower() not in MISSING_WORDS:
                raise DataError(
                    f"{self.path} line {self.lines[row]}: {cell[:40]!r} in column {self.labels[0]!r} is no number, as "
                    f"{int(there.sum())} of {len(cells)} labels are; correct it, or leave the cell empty"
                )

    def _value(self, cell: str) -> float:
        """Of a column of numbers: `_number`, and what stands for 1 and 0."""
        return TRUTHS.get(cell.lower(), self._number(cell))

    def _number(self, cell: str) -> float:
        """NaN for what is none."""
        if self.comma and DECIMAL_COMMA.fullmatch(cell):
            cell = cell.replace(",", ".")
        try:
            return float("nan") if "_" in cell else float(cell)
        except ValueError:
            return float("nan")


def _is_beyond(digits: str) -> bool:
    """Python reads no number of thousands of digits."""
    return len(digits) > DIGITS_MAX or int(digits) > INTEGER_MAX


def _read(path: Path) -> tuple[list[list[str]], list[tuple[int, int]], str]:
    """Rows that hold something, the first and the last line of each, and what separates cells."""
    try:
        with path.open("rb") as file:
            wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
        with path.open(newline="", encoding="utf-16" if wide else "utf-8-sig") as file:
            sample = file.read(4096)
            file.seek(0)
            delimiter = max(SEPARATORS, key="".join(sample.strip().splitlines()[:1]).count)
            rows, spans, done = [], [], 0
            reader = csv.reader(file, delimiter=delimiter)
            for row in reader:
                if row:
                    rows.append(row)
                    spans.append((done + 1, reader.line_num))
                done = reader.line_num
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"{path} is not UTF-8 (byte {byte:#04x}, as in older Windows files); save it as CSV in UTF-8"
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot read {path}: {reason(error) if isinstance(error, OSError) else error}") from error
    return rows, spans, delimiter


def _odd_columns(numbers: Float64, columns: Sequence[str]) -> list[str]:
    """Lines on columns that say nothing, or say where in the file a row stood. numbers: float64 (n, columns)."""
    notes, same = [], []
    for name, values in zip(columns, numbers.T, strict=True):
        finite = values[np.isfinite(values)]
        if len(values) > 1 and (values == values[0]).all():
            same.append(name)
        if not len(finite):
            notes.append(f"warning: column {name!r} holds no number at all; leave it out: --without {name}")
            continue
        with np.errstate(invalid="ignore"):  # from infinite to infinite
            steps = np.diff(values)
        if len(steps) > 1 and steps[0] != 0 and (steps == steps[0]).all():
            notes.append(
                f"warning: column {name!r} changes by {steps[0]:g} from every row to the next, as the number of a row "
                f"or a clock does: it tells the place in this file and nothing of a new row; --without {name}"
            )
        grain, spread = float(np.spacing(np.float32(np.abs(finite).max()))), float(finite.std())
        if spread > 0 and grain > COARSE * spread:
            notes.append(
                f"warning: column {name!r} holds values near {finite.mean():.6g} that differ by {spread:.3g}; float32, "
                f"which windows are, keeps them to {grain:.2g} only: take a constant off first"
            )
    if same:
        notes.append(
            f"warning: column {listed(same)} holds one value in all rows: nothing is learned of it, and another value "
            f"would be new to the model; --without {','.join(same)}"
        )
    return notes


def _windows(path: Path, x: Float32, y: AnyArray, wanted: Columns, stride: int) -> tuple[AnyArray, AnyArray]:
    """Windows of rows under one label, begun every `stride` rows; rows left over at a change of label belong to none.
    Of values, of all rows, each with the y of its last row.
    """
    length = wanted.window
    known = y[~np.isnan(y)] if y.dtype.kind == "f" else y
    if wanted.values or (known.dtype.kind == "f" and (known != np.floor(known)).any()):
        starts = list(range(0, len(y) - length + 1, stride))
    else:
        rows = y.reshape(len(y), -1)
        same = rows[1:] == rows[:-1]
        if rows.dtype.kind == "f":
            same |= np.isnan(rows[1:]) & np.isnan(rows[:-1])
        changes = np.flatnonzero(~same.all(axis=1)) + 1
        starts = [
            start
            for first, end in zip([0, *changes], [*changes, len(y)], strict=True)
            for start in range(first, end - length + 1, stride)
        ]
    if not starts:
        raise DataError(f"{path} holds no {length} rows in a row under one label; give a smaller --window")
    return np.stack([x[start : start + length] for start in starts]), y[[start + length - 1 for start in starts]]
