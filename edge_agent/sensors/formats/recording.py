"""Makes windows, labels and ids of a table: cut from its rows as in training, or a window in each line.

A first pass counts windows and gathers their labels; the windows themselves are read when they are needed, so that a
recording takes little memory however long it is.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_agent.sensors.formats.in_order import WindowsInOrder
from edge_agent.sensors.formats.tables import Table
from edge_agent.sensors.formats.window_format import WindowFormat
from headway.arrays import AnyArray, Float32, Float64
from headway.errors import DataError, LocalError
from headway.maths import Task
from headway.sample_members import IDS, LABELS, WINDOWS
from headway.stream import Channel, Resampling, StreamFormat
from headway.windower import Windower, shaped

# beyond it float32 does not tell them apart
LABELS_DIFFERENT_MAX = 1 << 20
STEM_CHARACTERS_MAX = 100
# in the windows that are cut at once; where they overlap much, each row is in many
CUT_NUMBERS_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the first pass found. labels, ids: a text for each of `count` windows, or of none; starts_s: of windows that
    were cut, None for whole ones."""

    count: int
    labels: list[str]
    ids: AnyArray | None
    starts_s: Float64 | None


class Gathering:
    """The first pass over a table. bytes_max: of labels and ids."""

    def __init__(self, table: Table, taken: WindowFormat, bytes_max: int) -> None:
        self.table, self._taken, self._bytes_max = table, taken, bytes_max
        self._whole = not table.width or _is_whole(table, taken)

    def steps(self) -> Iterator[Gathered | None]:
        """A step for each block, None until the last one. Raises DataError."""
        yield from self._whole_lines() if self._whole else self._cut()

    def _whole_lines(self) -> Iterator[Gathered | None]:
        """A window, or a label alone, in each line."""
        labels: list[str] = []
        ids: list[str] = []
        count = held = 0
        for block in self.table.blocks():
            count += len(block.values)
            labels += block.labels or ()
            ids += block.ids or ()
            held += sum(map(len, block.labels or ())) + sum(map(len, block.ids or ()))
            self._check_held(held + 8 * len(labels) + 8 * len(ids))
            yield None
        self._check_held(4 * max(map(len, ids), default=0) * len(ids))
        yield Gathered(count, labels, np.array(ids, dtype=np.str_) if self.table.has_ids else None, None)

    def _cut(self) -> Iterator[Gathered | None]:
        """Count the windows; the label of each is that on which all its rows agree."""
        stream = _stream_of(self._taken)
        starts, labels, last_s = array("d"), _LabelWindows(stream, self.table.where), -math.inf
        for times_s, values, names in rows_of(self.table, stream):
            cut = labels.windower.push(times_s, labels.codes(names, len(values)))
            for start_s in cut.starts_s.tolist():
                # a clock that was set back does not give an id again
                last_s = max(start_s, last_s + 1e-6)
                starts.append(last_s)
            labels.add(cut.values)
            self._check_held(24 * len(starts))
            yield None
        if not starts:
            raise DataError(f"{self.table.where} holds no window: {stream.length} rows at {stream.rate_hz:g} Hz "
                            "without a gap are needed")  # fmt: skip
        yield Gathered(len(starts), labels.names, None, np.array(starts))

    def _check_held(self, held_bytes: int) -> None:
        if held_bytes > self._bytes_max:
            raise DataError(f"labels and ids of {self.table.where} take more than {self._bytes_max} bytes "
                            "(labels_bytes_max); write more files")  # fmt: skip


class Recording:
    """The arrays of a table, as `headway.samples.read_samples` takes them: x, and where it has them y and id.

    Raises DataError for labels that cannot be those of the task.
    """

    def __init__(
        self, table: Table, taken: WindowFormat, gathered: Gathered, classes: Sequence[str], task: Task
    ) -> None:
        self.where = table.where
        self._table, self._taken, self._gathered = table, taken, gathered
        self._labels = _typed(self.where, gathered.labels, classes, task) if table.has_labels else None

    @property
    def names(self) -> tuple[str, ...]:
        ids = self._gathered.ids
        there = ((WINDOWS, self._table.width > 0), (LABELS, self._labels is not None), (IDS, ids is not None))
        return (*(name for name, has in there if has), *self._table.unread)

    def size_bytes(self, name: str) -> int:
        """Of labels and ids, as they are held."""
        return self.array(name).nbytes

    def array(self, name: str) -> AnyArray:
        """Labels or ids."""
        found = {LABELS: self._labels, IDS: self._gathered.ids}.get(name)
        if found is None:
            raise LocalError(f"no array {name}")
        return found

    def stored(self, name: str) -> WindowsInOrder:
        """The windows."""
        begin = self._windows if self._gathered.starts_s is None else self._cut_windows
        return WindowsInOrder(self.where, (self._gathered.count, *self._taken.input_shape), begin, self.close)

    def close(self) -> None:
        """Let go of the file."""
        self._table.close()

    def _windows(self) -> Iterator[Float32]:
        for block in self._table.blocks():
            with np.errstate(over="ignore"):
                yield block.values.astype(np.float32).reshape(len(block.values), *self._taken.input_shape)

    def _cut_windows(self) -> Iterator[Float32]:
        stream = _stream_of(self._taken)
        arrangement, windower = stream.arrangement(self._table.columns, self._table.units), Windower(stream)
        for times_s, values, _ in rows_of(self._table, stream):
            cut = windower.push(times_s, arrangement.apply(values))
            yield shaped(cut.values, self._taken.input_shape, self._taken.time_axis)


def rows_of(table: Table, stream: StreamFormat) -> Iterator[tuple[Float64, Float64, Sequence[str] | None]]:
    """Times, values and labels in blocks; times are those of the rate where the file has none."""
    row = 0
    stream.arrangement(table.columns, table.units)
    rows_max = max(1, CUT_NUMBERS_MAX * stream.hop // (stream.length * len(stream.channels)))
    for block in table.blocks():
        times_s = block.times_s
        if times_s is None:
            times_s = np.arange(row, row + len(block.values)) / stream.rate_hz
        row += len(block.values)
        for start in range(0, len(block.values), rows_max):
            part = slice(start, start + rows_max)
            yield times_s[part], block.values[part], None if block.labels is None else block.labels[part]


class _LabelWindows:
    """Labels of rows, cut like the rows themselves: one more channel, whose values are numbers of labels."""

    def __init__(self, stream: StreamFormat, where: str) -> None:
        held = Resampling.NONE if stream.resampling is Resampling.NONE else Resampling.PREVIOUS
        self.windower = Windower(replace(stream, channels=(Channel("label"),), resampling=held))
        self._where = where
        self._known = {"": 0}
        self.names: list[str] = []

    def codes(self, names: Sequence[str] | None, count: int) -> Float64:
        if names is None:
            return np.zeros((count, 1))
        for name in names:
            self._known.setdefault(name, len(self._known))
        if len(self._known) > LABELS_DIFFERENT_MAX:
            raise DataError(f"{self._where} has more than {LABELS_DIFFERENT_MAX} different labels")
        return np.array([[self._known[name]] for name in names], np.float64)

    def add(self, codes: Float32) -> None:
        """codes: float32 (n, length, 1), NaN inside gaps."""
        names = list(self._known)
        for window in codes[:, :, 0]:
            found = window[~np.isnan(window)]
            agreed = found.size and (found == found[0]).all()
            self.names.append(names[int(found[0])] if agreed else "")


class StartIds(Sequence[str]):
    """Names of windows that were cut from a file: its own name and the time of their first step, in seconds."""

    def __init__(self, name: str, starts_s: Float64) -> None:
        self._name, self._starts_s = name[:STEM_CHARACTERS_MAX], starts_s

    def __len__(self) -> int:
        return len(self._starts_s)

    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:  # type: ignore[override]
        if isinstance(at, slice):
            return tuple(f"{self._name}-{start_s:.6f}" for start_s in self._starts_s[at].tolist())
        return f"{self._name}-{float(self._starts_s[at]):.6f}"


def _is_whole(table: Table, taken: WindowFormat) -> bool:
    """Whether each line is a window. Rows have the bundle's channels, or as many columns as it has channels."""
    stream = taken.stream
    if stream is not None:
        wanted = {channel.name for channel in stream.channels}
        if wanted <= set(table.columns) or (not table.columns and table.width == len(stream.channels)):
            return False
    if table.width == taken.numbers:
        return True
    if stream is not None:
        stream.arrangement(table.columns, table.units)  # which names the channel that is missing
        raise DataError(f"{table.where} has {table.width} columns of numbers; the bundle has {len(stream.channels)} "
                        f"channels, and {taken.numbers} numbers in a window")  # fmt: skip
    raise DataError(f"{table.where} has {table.width} columns of numbers; a window has {taken.numbers}")


def _stream_of(taken: WindowFormat) -> StreamFormat:
    if taken.stream is None:
        raise LocalError("the bundle has no stream")
    return taken.stream


def _typed(where: str, labels: list[str], classes: Sequence[str], task: Task) -> AnyArray:
    """As an array of the dtype that says what they are: names, numbers of classes, or values."""
    known = set(classes)
    if task is Task.CLASSIFICATION:
        numbers = {name: _whole_number(name) for name in set(labels) if name}
        if numbers and None not in numbers.values() and not known & set(numbers):
            return np.array([-1 if not name else numbers[name] for name in labels], np.int64)
        return np.array(labels, dtype=np.str_) if labels else np.empty(0, "<U1")
    try:
        rows = [_targets(name, len(classes)) for name in labels]
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: y of a {task} model is a number, or of {len(classes)} outputs a JSON list of "
                        f"{len(classes)}: {str(error)[:80]}") from error  # fmt: skip
    return np.array(rows, np.float64).reshape(len(labels), len(classes))


def _targets(text: str, outputs: int) -> list[float]:
    found = json.loads(text) if text else [None] * outputs
    row = [float("nan") if each is None else float(each) for each in (found if isinstance(found, list) else [found])]
    if len(row) != outputs:
        raise ValueError(f"{text[:40]!r} has {len(row)}")
    return row


def _whole_number(text: str) -> int | None:
    digits = text[1:] if text.startswith("-") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
