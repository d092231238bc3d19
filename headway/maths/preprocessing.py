"""Preprocesses sensor windows before the backbone, with values fitted when the model is converted.

The converter fits it and the device applies it, so that both see the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from headway.arrays import AnyArray, Float32, describe
from headway.errors import DataError, LocalError

MEDIAN_WIDTH_MAX = 63


class Missing(StrEnum):
    """What stands in for a missing value: the channel's constant, or the last value before it in the window."""

    CONSTANT = "constant"
    LAST = "last"


class TimeAxis(StrEnum):
    """Where time lies in a window; the channels lie at the other end."""

    FIRST = "first"
    LAST = "last"


class Denoise(StrEnum):
    """Smoothing along time within one window."""

    NONE = "none"
    MEDIAN = "median"
    EWMA = "ewma"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Impute, denoise, then standardise, per channel along time.

    time_axis: FIRST, the input is (time, ..., channels); or LAST, (channels, ..., time), as PyTorch's Conv1d takes it.

    fill: float32 (channels,), training mean or median, put where a value is missing (NaN or infinite) and, with
        Missing.LAST, where no earlier value of the window exists.
    offset, gain: float32 (channels,), x -> (x - offset) * gain; None leaves x as it is.
    median_width: odd number of time steps; ewma_weight: 0..1, the weight of the newest value.
    """

    input_shape: tuple[int, ...]
    fill: Float32
    offset: Float32 | None = None
    gain: Float32 | None = None
    missing: Missing = Missing.CONSTANT
    denoise: Denoise = Denoise.NONE
    median_width: int = 3
    ewma_weight: float = 0.5
    time_axis: TimeAxis = TimeAxis.FIRST

    def __post_init__(self) -> None:
        channels = (self.channels,)
        for name in ("fill", "offset", "gain"):
            array = getattr(self, name)
            if array is not None and (array.shape != channels or not np.isfinite(array).all()):
                raise LocalError(f"preprocessing {name} must be finite, shape {channels}, got {describe(array)}")
        if (self.offset is None) != (self.gain is None):
            raise LocalError("standardising needs both an offset and a gain")
        along_time = self.missing is Missing.LAST or self.denoise is not Denoise.NONE
        if along_time and len(self.input_shape) < 2:
            raise LocalError(f"inputs of shape {self.input_shape} have no time axis to impute or smooth along")
        if not 3 <= self.median_width <= MEDIAN_WIDTH_MAX or self.median_width % 2 == 0:
            raise LocalError(f"median width {self.median_width} must be odd, from 3 to {MEDIAN_WIDTH_MAX}")
        if not 0 < self.ewma_weight <= 1:
            raise LocalError(f"EWMA weight {self.ewma_weight} must be above 0 and at most 1")

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.input_shape[-1] if self.time_axis is TimeAxis.FIRST else self.input_shape[0]

    def apply(self, x: AnyArray) -> tuple[Float32, int]:
        """x: any numeric dtype (n, *input_shape) -> float32 of the same shape, and how many values were missing.

        Raises DataError when the shape is another one, or when every value of a window is missing.
        """
        if x.shape[1:] != self.input_shape:
            raise DataError(
                f"samples have shape {tuple(x.shape[1:])}, the model takes {self.input_shape}; "
                f"give x as (n, {', '.join(map(str, self.input_shape))})"
            )
        if x.dtype.kind not in "fiub":
            raise DataError(f"samples have dtype {x.dtype}; give numbers (float32 is best)")
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and so counts as missing
            values = np.array(x, dtype=np.float32)
        values = time_first(values, self.time_axis)
        missing = ~np.isfinite(values)
        missing_count = int(np.count_nonzero(missing))
        if missing_count:
            empty = missing.reshape(len(values), -1).all(axis=1)
            if empty.any():
                raise DataError(f"sample {int(empty.argmax())} has no finite value; nothing can be predicted from it")
            values = self._impute(values, missing)
        if self.denoise is Denoise.MEDIAN:
            values = median_filter(values, self.median_width)
        elif self.denoise is Denoise.EWMA:
            values = ewma(values, self.ewma_weight)
        if self.offset is not None and self.gain is not None:
            values = (values - self.offset) * self.gain
        return np.ascontiguousarray(time_first(values, self.time_axis)), missing_count

    def _impute(self, values: Float32, missing: AnyArray) -> Float32:
        if self.missing is Missing.LAST:
            steps = np.arange(values.shape[1]).reshape(1, -1, *(1,) * (values.ndim - 2))
            last = np.maximum.accumulate(np.where(missing, 0, steps), axis=1)
            values = np.take_along_axis(values, last, axis=1)
            missing = ~np.isfinite(values)  # left: what was missing from the window's start on
        return np.where(missing, self.fill, values).astype(np.float32)


def time_first(x: AnyArray, axis: TimeAxis) -> AnyArray:
    """A view of windows (n, ...) with time first and channels last; applied twice it is the identity."""
    return x if axis is TimeAxis.FIRST else x.swapaxes(1, -1)


def median_filter(values: Float32, width: int) -> Float32:
    """Running median along time, the ends repeated outwards. float32 (n, t, ...) -> float32 of the same shape."""
    half = width // 2
    padded = np.pad(values, [(0, 0), (half, half)] + [(0, 0)] * (values.ndim - 2), mode="edge")
    return np.asarray(np.median(sliding_window_view(padded, width, axis=1), axis=-1), dtype=np.float32)


def ewma(values: Float32, weight: float) -> Float32:
    """Exponentially weighted moving average, y_t = w x_t + (1 - w) y_(t-1), y_0 = x_0. float32 (n, t, ...)."""
    result = values.copy()
    new, old = np.float32(weight), np.float32(1 - weight)
    for step in range(1, values.shape[1]):
        result[:, step] = new * values[:, step] + old * result[:, step - 1]
    return result
