"""Opens a spool file by the ending of its name, and reads it as samples."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge_agent.sensors.formats.lines import CsvTable, JsonLines, Lines
from edge_agent.sensors.formats.recording import Recording, StartIds
from edge_agent.sensors.formats.rows_array import RowsArray
from edge_agent.sensors.formats.tables import Table
from edge_agent.sensors.formats.wav import WavTable, is_whole_wav
from edge_agent.sensors.formats.window_format import WindowFormat
from headway.errors import DataError
from headway.maths import Task
from headway.npz import Archive, SingleArray, is_finished
from headway.samples import Samples, read_samples

NPZ, NPY, CSV, JSONL, WAV = ".npz", ".npy", ".csv", ".jsonl", ".wav"
# those whose answers get one more ending
ENDINGS = (NPY, CSV, JSONL, WAV)


def read_file(
    file: io.FileIO,
    where: str,
    taken: WindowFormat | None,
    classes: Sequence[str],
    *,
    inflated_bytes_max: int,
    **limits: Any,
) -> Samples:
    """The samples of an open file, which is theirs from now on. where: its name, whose ending says what it is.

    inflated_bytes_max and `limits` are those of `headway.samples.read_samples`. Raises DataError.
    """
    ending = os.path.splitext(where)[1].lower()
    if ending not in ENDINGS:
        return read_samples(Archive(file, where, inflated_bytes_max), classes, **limits)
    with contextlib.ExitStack() as stack:
        stack.callback(file.close)
        if taken is None:
            raise DataError(f"{where}: without a bundle only .npz is read")
        table: Table
        if ending == NPY:
            array = SingleArray(file, where)
            if not RowsArray.fits(array, taken):
                stack.pop_all()
                return read_samples(array, classes, **limits)
            table = RowsArray(array)
        elif ending == WAV:
            table = WavTable(file, where, taken)
        else:
            lines = Lines(file, where, taken.numbers)
            table = CsvTable(lines, taken) if ending == CSV else JsonLines(lines, taken)
        recording = Recording(
            table, taken, classes, limits.get("task", Task.CLASSIFICATION), limits["labels_bytes_max"]
        )
        stack.pop_all()
        samples = read_samples(recording, classes, **limits)
    if recording.starts_s is None:
        return samples
    stem = os.path.splitext(where)[0]
    return replace(samples, ids=StartIds(stem, recording.starts_s), ids_made=True)


def is_whole(file: io.FileIO, name: str) -> bool:
    """Whether a file surely is complete, which the ends of some formats tell."""
    ending = os.path.splitext(name)[1].lower()
    if ending == NPZ:
        return is_finished(file)
    if ending == WAV:
        return is_whole_wav(file)
    if ending == NPY:
        return _is_whole_array(file, name)
    return False


def _is_whole_array(file: io.FileIO, name: str) -> bool:
    """Its header says how long it is."""
    try:
        with contextlib.closing(SingleArray(io.FileIO(os.dup(file.fileno())), name)) as array:
            array.stored("x")
    except DataError:
        return False
    return True
