"""Makes windows of what a source gives: cut from rows as the bundle says, or taken as they are."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from edge_agent.source_settings import SourceSettings
from edge_agent.sources.ports import Rows, Source
from headway.arrays import Float32
from headway.bundle import Variant
from headway.errors import DataError, LocalError
from headway.stream import Channel, StreamFormat
from headway.windower import Windower, Windows, shaped

# times of windows without one, after which that is no accident; and gaps in it
LACK_WINDOWS, LACK_GAPS = 10, 3
# of whole windows nothing is cut; a source is told this instead of the bundle's stream
WHOLE = StreamFormat((Channel("window"),), rate_hz=1.0, length=1, hop=1)


class Cutter(Protocol):
    """One pass over a source, from its opening to its end.

    lack: why rows come and no window does, in words; empty while windows do.
    """

    lack: str

    def windows(self, rows: Rows) -> Windows:
        """The windows that become whole; values: float32 (n, *input_shape). Raises DataError."""
        ...


class RowCutter:
    """Windows of rows, cut as in training. Raises DataError for channels that do not fit."""

    def __init__(self, source: Source, variant: Variant) -> None:
        if variant.stream is None:
            raise LocalError("the bundle has no stream")
        self._stream = variant.stream
        self._arrangement = variant.stream.arrangement(source.channels, source.units)
        self._windower = Windower(variant.stream)
        self._shape, self._axis = variant.input_shape, variant.preprocessing.time_axis
        self.lack = ""
        self._window_came(math.nan)

    def windows(self, rows: Rows) -> Windows:
        cut = self._windower.push(rows.times_s, self._arrangement.apply(rows.values))
        if len(rows.times_s):
            self._look(float(rows.times_s[0]), float(rows.times_s[-1]), came=len(cut.starts_s) > 0)
        return Windows(cut.starts_s, shaped(cut.values, self._shape, self._axis))

    def _look(self, first_s: float, last_s: float, *, came: bool) -> None:
        """Whether windows come, or why none does."""
        if came or math.isnan(self._since_s):
            self.lack = ""
            self._window_came(last_s if came else first_s)
        if self.lack:
            return  # told once
        stream = self._stream
        gaps, late = self._windower.restarts - self._gaps, self._windower.dropped_rows - self._late
        window_s = stream.length / stream.rate_hz
        if gaps >= LACK_GAPS and last_s - self._since_s > LACK_WINDOWS * window_s:
            self.lack = (
                f"rows come, and no window of {window_s:g} s is complete: {gaps} gaps of more than {stream.gap_s:g} s "
                "(gap_s of the bundle); give source.rate_hz if lines of a fixed rate come several at once"
            )
        elif late > LACK_WINDOWS * stream.length:
            self.lack = f"{late} rows are no later than the one before them; correct the times that they bring"

    def _window_came(self, since_s: float) -> None:
        self._since_s, self._gaps, self._late = since_s, self._windower.restarts, self._windower.dropped_rows


class WholeWindows:
    """Each row of the source is a window, its numbers in C order."""

    def __init__(self, variant: Variant) -> None:
        self._shape = variant.input_shape
        self.lack = ""

    def windows(self, rows: Rows) -> Windows:
        count, size = len(rows.times_s), math.prod(self._shape)
        if rows.values.shape != (count, size):
            shape = "x".join(map(str, self._shape))
            raise DataError(f"a window has {rows.values.shape[1:]} numbers; the bundle takes {shape} = {size}")
        with np.errstate(over="ignore"):
            values: Float32 = rows.values.astype(np.float32)
        return Windows(rows.times_s, values.reshape(count, *self._shape))


def build_cutter(settings: SourceSettings, source: Source, variant: Variant) -> Cutter:
    """For one pass. Raises DataError."""
    return WholeWindows(variant) if settings.each == "window" else RowCutter(source, variant)
