"""Cuts windows from raw rows: the one function for training data and for the device.

However the rows are cut into pieces on their way, the windows are the same to the bit: a time step depends on the rows
beside it and on the first row of its run alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headway.arrays import Float32, Float64
from headway.errors import DataError
from headway.maths import TimeAxis
from headway.stream import GapRule, Resampling, StreamFormat


@dataclass(frozen=True, slots=True)
class Windows:
    """starts_s: float64 (n,), time of each window's first step; values: float32 (n, length, channels)."""

    starts_s: Float64
    values: Float32


class Windower:
    """Takes rows piece by piece and gives the windows that they complete.

    restarts: windows under way that a gap, or a clock set back, has ended. dropped_rows: rows that are not later than
    the one before, or without a time.
    """

    def __init__(self, stream: StreamFormat) -> None:
        self._stream = stream
        self._gap_s = stream.gap_s
        if stream.gap is GapRule.MISSING:
            self._gap_s = max(stream.gap_s, stream.length / stream.rate_hz)
        self.restarts = self.dropped_rows = 0
        self._begin_run()

    def _begin_run(self) -> None:
        channels = len(self._stream.channels)
        self._first_s = self._last_s = math.nan
        self._last: Float64 = np.empty((0, channels))
        self._steps_done = self._skip = 0
        self._times_s: Float64 = np.empty(0)
        self._steps: Float32 = np.empty((0, channels), np.float32)

    def push(self, times_s: Float64, values: Float64) -> Windows:
        """times_s: float64 (n,), values: float64 (n, channels), NaN where one is missing. Raises DataError."""
        channels = len(self._stream.channels)
        if times_s.ndim != 1 or values.shape != (len(times_s), channels):
            raise DataError(
                f"{times_s.shape} times and {values.shape} values; ({len(times_s)}, {channels}) is expected"
            )
        found = [self._extend(times_s[run], values[run]) for run in self._runs(times_s)]
        if not found:
            return Windows(np.empty(0), np.empty((0, self._stream.length, channels), np.float32))
        return Windows(
            np.concatenate([windows.starts_s for windows in found]),
            np.concatenate([windows.values for windows in found]),
        )

    def _runs(self, times_s: Float64) -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
        """The rows of each run without a gap; between two of them everything begins anew."""
        before = np.concatenate([[self._last_s], times_s[:-1]]) if len(times_s) else times_s
        apart = times_s - before
        if len(apart) and math.isnan(self._last_s):
            apart[0] = 0.0 if math.isfinite(times_s[0]) else math.nan
            later = apart[1:] > 0.0
        else:
            later = apart > 0.0
        if len(times_s) and later.all() and np.isfinite(apart).all() and (apart <= self._gap_s).all():
            yield np.arange(len(times_s))
            return
        run: list[int] = []
        last_s = self._last_s
        for row, time_s in enumerate(times_s.tolist()):
            step_s = time_s - last_s
            if not math.isfinite(time_s) or -self._gap_s <= step_s <= 0.0:
                self.dropped_rows += 1
                continue
            if abs(step_s) > self._gap_s:
                if run:
                    yield np.array(run)
                self._begin_run()
                self.restarts += 1
                run = []
            run.append(row)
            last_s = time_s
        if run:
            yield np.array(run)

    def _extend(self, times_s: Float64, values: Float64) -> Windows:
        """More rows of the run under way."""
        stream = self._stream
        if math.isnan(self._first_s):
            self._first_s = float(times_s[0])
        if stream.resampling is Resampling.NONE:
            steps_s, steps = times_s, values
        else:
            steps_s, steps = self._resampled(times_s, values)
        self._last_s, self._last = float(times_s[-1]), values[-1:]
        with np.errstate(over="ignore"):
            self._steps = np.concatenate([self._steps, steps.astype(np.float32)])
        self._times_s = np.concatenate([self._times_s, steps_s])
        return self._cut()

    def _resampled(self, times_s: Float64, values: Float64) -> tuple[Float64, Float64]:
        """The time steps up to the newest row."""
        stream = self._stream
        if len(self._last):
            times_s, values = np.concatenate([[self._last_s], times_s]), np.concatenate([self._last, values])
        steps_max = math.floor((times_s[-1] - self._first_s) * stream.rate_hz) + 2
        grid_s = self._first_s + np.arange(self._steps_done, max(self._steps_done, steps_max)) / stream.rate_hz
        grid_s = grid_s[grid_s <= times_s[-1]]
        self._steps_done += len(grid_s)
        left = np.searchsorted(times_s, grid_s, side="right") - 1
        right = np.minimum(left + 1, len(times_s) - 1)
        apart_s = times_s[right] - times_s[left]
        weight = np.where(apart_s > 0.0, (grid_s - times_s[left]) / np.where(apart_s > 0.0, apart_s, 1.0), 0.0)[:, None]
        steps = values[left]
        if stream.resampling is Resampling.LINEAR:
            with np.errstate(over="ignore", invalid="ignore"):
                steps = np.where(weight == 0.0, steps, steps + (values[right] - steps) * weight)
        inside_gap = (apart_s > stream.gap_s)[:, None] & (weight > 0.0)
        return grid_s, np.where(inside_gap, np.nan, steps)

    def _cut(self) -> Windows:
        """The windows that are complete; what no later one needs is forgotten."""
        length, hop = self._stream.length, self._stream.hop
        count = max(0, (len(self._steps) - self._skip - length) // hop + 1)
        firsts = self._skip + hop * np.arange(count)
        windows = Windows(self._times_s[firsts], self._steps[firsts[:, None] + np.arange(length)])
        next_first = self._skip + hop * count
        used = min(next_first, len(self._steps))
        self._steps, self._times_s, self._skip = self._steps[used:], self._times_s[used:], next_first - used
        return windows


def cut_windows(
    times_s: Float64 | None,
    values: Float64,
    stream: StreamFormat,
    names: Sequence[str] = (),
    units: Sequence[str] = (),
) -> Windows:
    """Training windows of one whole recording, as a device cuts them from the same rows.

    values: (n, columns), NaN where one is missing; names, units: of the columns, none: as the stream's channels.
    times_s: (n,) seconds; None: the rows come at the stream's rate. Raises DataError.
    """
    rows = stream.arrangement(names, units).apply(np.asarray(values, np.float64))
    if times_s is None:
        times_s = np.arange(len(rows)) / stream.rate_hz
    return Windower(stream).push(np.asarray(times_s, np.float64), rows)


def shaped(values: Float32, input_shape: tuple[int, ...], time_axis: TimeAxis) -> Float32:
    """Windows (n, length, channels) as a model takes them: (n, *input_shape)."""
    ordered = values.transpose(0, 2, 1) if time_axis is TimeAxis.LAST and len(input_shape) > 1 else values
    return np.ascontiguousarray(ordered).reshape(len(values), *input_shape)
