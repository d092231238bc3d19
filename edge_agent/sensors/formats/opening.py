"""Opens a spool file by the ending of its name, and reads it as samples."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_agent.sensors.formats.lines import CsvTable, JsonLines, Lines
from edge_agent.sensors.formats.recording import Gathered, Gathering, Recording, StartIds
from edge_agent.sensors.formats.rows_array import RowsArray
from edge_agent.sensors.formats.tables import Table
from edge_agent.sensors.formats.wav import WavTable, is_whole_wav
from edge_agent.sensors.formats.window_format import WindowFormat
from edge_agent.sensors.ports import MoreTime
from headway.errors import DataError, LocalError
from headway.maths import Task
from headway.npz import Archive, SingleArray, is_finished
from headway.ports import Clock
from headway.samples import Samples, read_samples

NPZ, NPY, CSV, JSONL, WAV = ".npz", ".npy", ".csv", ".jsonl", ".wav"
# those whose answers get one more ending
ENDINGS = (NPY, CSV, JSONL, WAV)
# how every archive begins, under whatever name it comes
PACKED = b"PK"
# what a name probably meant
NEARLY = {
    ".json": "one JSON object a line, under the name NAME.jsonl",
    ".ndjson": "NAME.jsonl",
    ".txt": "NAME.csv, where it is a table",
    ".tsv": "NAME.csv, tabs may stay",
    ".dat": "NAME.csv, where it is a table",
    ".mp3": "NAME.wav, with ffmpeg, say",
    ".flac": "NAME.wav, with ffmpeg, say",
    ".ogg": "NAME.wav, with ffmpeg, say",
}
# of one call; requests to stop, the network and the watchdog wait for it
MOMENT_S = 0.3
# times of rows from there on are dates, in seconds since 1970; smaller ones count from the file's own beginning
DATES_S_MIN = 1e9
# beyond what may be inflated anyway: sensors' data is never packed so well, and a few bytes are not to fill a disk
PACKED_TIMES_MAX = 100


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """A first pass that goes on when the file is asked for again. stamp: which file, as it was."""

    stamp: tuple[int, ...]
    table: Table
    steps: Iterator[Gathered | None]


class FormatReader:
    """taken: what windows the bundle takes; None reads .npz alone.

    Remembers what the first pass over a file found until it is opened once more: all its windows are looked at, and
    then they are learned.
    """

    def __init__(self, taken: WindowFormat | None, clock: Clock) -> None:
        self._taken, self._clock = taken, clock
        self._under_way: _UnderWay | None = None
        self._gathered: tuple[tuple[int, ...], Gathered] | None = None

    def read(
        self, file: io.FileIO, where: str, classes: Sequence[str], *, inflated_bytes_max: int, **limits: Any
    ) -> Samples:
        """The samples of an open file, which is theirs from now on. where: its name, whose ending says what it is.

        inflated_bytes_max and `limits` are those of `headway.samples.read_samples`. Raises DataError, MoreTime.
        """
        ending = os.path.splitext(where)[1].lower()
        if ending not in ENDINGS:
            if ending != NPZ and os.pread(file.fileno(), len(PACKED), 0) != PACKED:
                file.close()
                raise DataError(f"{where}: {_other_format(ending)}")
            return read_samples(Archive(file, where, inflated_bytes_max, PACKED_TIMES_MAX), classes, **limits)
        stamp = _stamp(file)
        table = self._table(file, where, ending, stamp)
        if isinstance(table, SingleArray):
            return read_samples(table, classes, **limits)
        with contextlib.ExitStack() as stack:
            stack.callback(table.close)
            taken, task = self._bundle(where), limits.get("task", Task.CLASSIFICATION)
            try:
                gathered = self._first_pass(table, taken, stamp, limits["labels_bytes_max"])
            except MoreTime:
                stack.pop_all()
                raise
            samples = read_samples(Recording(table, taken, gathered, classes, task), classes, **limits)
            if samples.x is not None and not isinstance(samples.x, np.ndarray):
                stack.pop_all()  # the samples close it
        if gathered.starts_s is None:
            return samples
        ids, ends_s = StartIds(os.path.splitext(where)[0], gathered.starts_s), None
        if taken.stream is not None and gathered.starts_s[0] >= DATES_S_MIN:
            ends_s = gathered.starts_s + taken.stream.length / taken.stream.rate_hz
        return replace(samples, ids=ids, ids_made=True, ends_s=ends_s)

    def _table(self, file: io.FileIO, where: str, ending: str, stamp: tuple[int, ...]) -> Table | SingleArray:
        """Of a file, which is closed when this raises; that of the pass under way, where it is of this file."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            if under_way.stamp == stamp:
                file.close()
                self._under_way = under_way
                return under_way.table
            under_way.table.close()
        with contextlib.ExitStack() as stack:
            stack.callback(file.close)
            taken = self._bundle(where)
            table: Table | SingleArray
            if ending == NPY:
                array = SingleArray(file, where)
                table = RowsArray(array) if RowsArray.fits(array, taken) else array
            elif ending == WAV:
                table = WavTable(file, where, taken)
            else:
                lines = Lines(file, where, taken.numbers)
                table = CsvTable(lines, taken) if ending == CSV else JsonLines(lines, taken)
            stack.pop_all()
        return table

    def _first_pass(self, table: Table, taken: WindowFormat, stamp: tuple[int, ...], bytes_max: int) -> Gathered:
        """What it finds; for a long file over several calls. Raises DataError, MoreTime."""
        known, self._gathered = self._gathered, None
        if known is not None and known[0] == stamp:
            return known[1]
        under_way = self._under_way or _UnderWay(stamp, table, Gathering(table, taken, bytes_max).steps())
        self._under_way, until_s = None, self._clock.monotonic_s() + MOMENT_S
        for found in under_way.steps:
            if found is not None:
                self._gathered = (stamp, found) if table.width else None
                return found
            if self._clock.monotonic_s() >= until_s:
                self._under_way = under_way
                raise MoreTime
        raise LocalError(f"{table.where}: its first pass has no end")

    def _bundle(self, where: str) -> WindowFormat:
        if self._taken is None:
            raise DataError(f"{where}: without a bundle only .npz is read")
        return self._taken


def _other_format(ending: str) -> str:
    fix = f"write it as {NEARLY[ending]}" if ending in NEARLY else "name it by what it holds"
    known = f"{', '.join((NPZ, *ENDINGS[:-1]))} and {ENDINGS[-1]}"
    return f"{ending or 'a name without an ending'} is no format that a spool folder takes ({known}); {fix}"


def is_whole(file: io.FileIO, name: str) -> bool:
    """Whether a file surely is complete, which the ends of some formats tell."""
    ending = os.path.splitext(name)[1].lower()
    if ending == NPZ:
        return is_finished(file)
    if ending == WAV:
        return is_whole_wav(file)
    return ending == NPY and _is_whole_array(file, name)


def _is_whole_array(file: io.FileIO, name: str) -> bool:
    """Its header says how long it is."""
    try:
        with contextlib.closing(SingleArray(io.FileIO(os.dup(file.fileno())), name)) as array:
            array.stored("x")
    except DataError:
        return False
    return True


def _stamp(file: io.FileIO) -> tuple[int, ...]:
    """Which file, as it is now, under whatever name."""
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
