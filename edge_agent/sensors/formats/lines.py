"""Lines of a text file: CSV with or without a header, or a JSON object in each. Nothing is longer than it may be."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge_agent.sensors.formats.tables import BLOCK_NUMBERS, Block, Unchanged
from edge_agent.sensors.formats.window_format import WindowFormat
from headway.arrays import Float64
from headway.errors import DataError
from headway.fields import nearest
from headway.json_values import number_at, numbers_in
from headway.printable import printable
from headway.sample_members import IDS, LABELS, WINDOWS, is_alike

LINE_BYTES_MAX, NUMBER_CHARACTERS_MAX = 1 << 20, 32
COLUMNS_MAX = 1 << 20
# of a file: nobody can stop or feed the watchdog while they are skipped
EMPTY_LINES_MAX = 1 << 18
# whose names are looked at one by one
COLUMNS_NAMED_MAX = 1 << 12
TIME, LABEL = "time", "label"


class Lines:
    """A text file, from its beginning each time; numbered from 1, empty ones left out."""

    def __init__(self, file: io.FileIO, where: str, numbers: int) -> None:
        self._file, self.where = file, where
        self._bytes_max = max(LINE_BYTES_MAX, NUMBER_CHARACTERS_MAX * numbers)
        self._unchanged = Unchanged(file, where)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Raises DataError."""
        self._file.seek(0)
        reader = io.BufferedReader(_Borrowed(self._file), 1 << 16)
        number = empty = 0
        while line := reader.readline(self._bytes_max + 1):
            number += 1
            if len(line) > self._bytes_max:
                raise DataError(f"{self.where}: line {number} has more than {self._bytes_max} bytes")
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                raise DataError(f"{self.where}: line {number} is no text in UTF-8") from error
            if "\0" in text:
                raise DataError(f"{self.where}: line {number} is no text: it holds a zero byte")
            if number % 256 == 1:
                self._unchanged.check()
            if text:
                yield number, text
            else:
                empty += 1
                if empty > EMPTY_LINES_MAX:
                    raise DataError(f"{self.where} has more than {EMPTY_LINES_MAX} empty lines")
        self._unchanged.check()

    def close(self) -> None:
        self._file.close()


class CsvTable:
    """Columns by name where there is a header: time, label and id are what they say, the others are values."""

    def __init__(self, lines: Lines, taken: WindowFormat) -> None:
        self._lines, self.where = lines, lines.where
        first = next(iter(lines), None)
        if first is None:
            raise DataError(f"{self.where} is empty")
        self._separator = max(",;\t ", key=first[1].count)
        (_, names), *_ = self._rows([first])
        self._header = not all(map(_is_number, names))
        self._names = tuple(names) if self._header else ()
        self._fields = len(names)
        if self._fields > COLUMNS_MAX:
            raise DataError(f"{self.where}: line {first[0]} has {self._fields} columns")
        if len(set(self._names)) != len(self._names):
            twice = next(name for place, name in enumerate(self._names) if name in self._names[:place])
            raise DataError(f"{self.where} has column {twice[:40]!r} twice")
        self.units: tuple[str, ...] = ()
        channels = _channels(taken) if _channels(taken) <= set(self._names) else frozenset()
        roles = _Roles.of(self.where, self._names, channels)
        self.has_labels, self.has_ids = roles.label is not None, roles.id is not None
        self._time, self._label, self._id = (
            None if name is None else self._names.index(name) for name in (roles.time, roles.label, roles.id)
        )
        self._values, self.unread = self._chosen(channels)
        self.columns = tuple(self._names[place] for place in self._values) if self._header else ()
        self.width = len(self._values)

    def blocks(self) -> Iterator[Block]:
        rows_max = max(1, BLOCK_NUMBERS // max(1, self._fields))
        rows: list[list[str]] = []
        numbers: list[int] = []
        for place, (number, fields) in enumerate(self._rows(self._lines)):
            if place == 0 and self._header:
                continue
            if len(fields) != self._fields:
                raise DataError(f"{self.where}: line {number} has {len(fields)} fields, the first one {self._fields}")
            rows.append(fields)
            numbers.append(number)
            if len(rows) == rows_max:
                yield self._block(rows, numbers)
                rows, numbers = [], []
        if rows:
            yield self._block(rows, numbers)

    def close(self) -> None:
        self._lines.close()

    def _chosen(self, channels: frozenset[str]) -> tuple[list[int], tuple[str, ...]]:
        """Places of the values, and the columns that are not read: the bundle's channels where all are there."""
        special = {place for place in (self._time, self._label, self._id) if place is not None}
        places = [place for place in range(self._fields) if place not in special]
        if not channels:
            return places, ()
        rest = tuple(self._names[place] for place in places if self._names[place] not in channels)
        return [place for place in places if self._names[place] in channels], rest

    def _rows(self, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
        """Fields of each line, with its number."""
        number, open_lines = 0, 0

        def texts() -> Iterator[str]:
            nonlocal number, open_lines
            for number, line in lines:
                if open_lines:
                    raise DataError(f"{self.where}: the line before line {number} has a quote that it does not close")
                open_lines = 1
                yield line

        if self._separator == " ":
            for number, line in lines:
                yield number, line.split()
            return
        try:
            for fields in csv.reader(texts(), delimiter=self._separator, strict=True, skipinitialspace=True):
                open_lines = 0
                yield number, fields
        except csv.Error as error:
            raise DataError(f"{self.where}: line {number}: {error}") from error

    def _block(self, rows: list[list[str]], numbers: list[int]) -> Block:
        times_s, values = None, self._numbers(rows, numbers)
        if self._time is not None:
            try:
                times_s = np.array([float(fields[self._time]) for fields in rows])
            except ValueError as error:
                raise DataError(f"{self.where}: lines {numbers[0]} to {numbers[-1]}: a time is no number of seconds: "
                                f"{_said(error)}") from error  # fmt: skip
        labels = None if self._label is None else [fields[self._label].strip() for fields in rows]
        ids = None if self._id is None else [fields[self._id].strip() for fields in rows]
        return Block(values, times_s, labels, ids)

    def _numbers(self, rows: list[list[str]], numbers: list[int]) -> Float64:
        try:
            return np.array([[fields[place] for place in self._values] for fields in rows], np.float64)
        except ValueError:
            values = np.empty((len(rows), self.width))  # with one missing, or with one that is none
        for row, fields in enumerate(rows):
            try:
                values[row] = [_number(fields[place]) for place in self._values]
            except ValueError as error:
                raise DataError(f"{self.where}: line {numbers[row]}: {_said(error)}") from error
        return values


@dataclass(frozen=True, slots=True)
class _Roles:
    """Names of the columns that are no values; a channel of the bundle always is one."""

    time: str | None
    label: str | None
    id: str | None

    @classmethod
    def of(cls, where: str, names: Sequence[str], channels: frozenset[str]) -> _Roles:
        """channels: names of values. Raises DataError for a column that may be meant to be something else."""
        free = [name for name in names if name not in channels]
        label = next((name for name in (LABEL, LABELS) if name in free), None)
        roles = cls(TIME if TIME in free else None, label, IDS if IDS in free else None)
        for name in free if len(names) < COLUMNS_NAMED_MAX else ():
            for meant, found in ((LABELS, roles.label), (IDS, roles.id)):
                if found is None and is_alike(name, meant):
                    right = LABEL if meant == LABELS else meant
                    raise DataError(f"{where} has a column {name[:40]!r}; did you mean {right!r}?")
        return roles


class JsonLines:
    """An object in each line: a list ``x`` is a whole window; else the bundle's channels are keys. time, label, id.

    The label of a window may be a list, for several outputs: then `labels` hold it as JSON.
    """

    def __init__(self, lines: Lines, taken: WindowFormat) -> None:
        self._lines, self.where, self._taken = lines, lines.where, taken
        first = next(iter(lines), None)
        if first is None:
            raise DataError(f"{self.where} is empty")
        found = self._object(*first)
        keys, self._whole = tuple(found), isinstance(found.get(WINDOWS), list)
        names: tuple[str, ...] = ()
        if not self._whole and taken.stream is not None:
            names = tuple(channel.name for channel in taken.stream.channels)
        missing = [name for name in names if _lacks(found, name)]
        inside = frozenset() if missing else frozenset((*names, *(name.split(".")[0] for name in names)))
        self._roles = roles = _Roles.of(self.where, [key for key in keys if key != WINDOWS], inside)
        self.has_labels, self.has_ids = roles.label is not None, roles.id is not None
        if missing and self.has_labels and self.has_ids and WINDOWS not in keys:
            names = ()  # labels alone
        elif missing or not (names or self._whole or (self.has_labels and self.has_ids)):
            wanted = f"channel {missing[0]!r}{nearest(missing[0], keys)}" if missing else "a list x, a whole window"
            raise DataError(f"{self.where}: line {first[0]} holds {', '.join(keys)[:80]}; it needs {wanted}")
        self.columns = names
        self.units: tuple[str, ...] = ()
        known = {WINDOWS, roles.time, roles.label, roles.id, *(name.split(".")[0] for name in names), *names}
        self.unread = tuple(key for key in keys if key not in known)
        self.width = taken.numbers if self._whole else len(names)

    def blocks(self) -> Iterator[Block]:
        rows_max = max(1, BLOCK_NUMBERS // max(1, self.width))
        found: list[tuple[int, dict[str, object]]] = []
        for number, line in self._lines:
            found.append((number, self._object(number, line)))
            if len(found) == rows_max:
                yield self._block(found)
                found = []
        if found:
            yield self._block(found)

    def close(self) -> None:
        self._lines.close()

    def _object(self, number: int, line: str) -> dict[str, object]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.where}: line {number} is no JSON: {_said(error)}") from error
        if not isinstance(found, dict):
            raise DataError(f"{self.where}: line {number} is no JSON object")
        return found

    def _block(self, found: Sequence[tuple[int, dict[str, object]]]) -> Block:
        values, times_s = np.empty((len(found), self.width)), np.empty(len(found))
        labels, ids = [], []
        for row, (number, each) in enumerate(found):
            try:
                if self.width:
                    values[row] = self._numbers(each)
                times_s[row] = number_at(each, TIME) if self._roles.time else 0.0
            except (ValueError, OverflowError) as error:
                raise DataError(f"{self.where}: line {number}: {_said(error)}") from error
            label, name = each.get(self._roles.label or LABEL), each.get(IDS, "")
            labels.append("" if label is None else label if isinstance(label, str) else json.dumps(label))
            ids.append(name if isinstance(name, str) else str(name))
        return Block(
            values, times_s if self._roles.time else None, labels if self.has_labels else None,
            ids if self.has_ids else None,
        )  # fmt: skip

    def _numbers(self, each: dict[str, object]) -> list[float]:
        if not self._whole:
            return [number_at(each, name) for name in self.columns]
        row = list(numbers_in(each.get(WINDOWS)))
        if len(row) != self.width:
            raise ValueError(f"x has {len(row)} numbers; a window has {self.width}")
        return row


class _Borrowed(io.RawIOBase):
    """A file that is not closed with its reader."""

    def __init__(self, file: io.FileIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int | None:
        return self._file.readinto(buffer)  # type: ignore[arg-type]


def _channels(taken: WindowFormat) -> frozenset[str]:
    return frozenset(channel.name for channel in taken.stream.channels) if taken.stream is not None else frozenset()


def _lacks(found: dict[str, object], name: str) -> bool:
    """An empty value is one that is missing now."""
    try:
        return math.isnan(number_at(found, name)) and name.split(".")[0] not in found
    except ValueError:
        return False  # the line is refused with the reason when it is read


def _number(text: str) -> float:
    return float(text) if text and not text.isspace() else math.nan


def _is_number(text: str) -> bool:
    try:
        _number(text)
    except ValueError:
        return False
    return True


def _said(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:120]
