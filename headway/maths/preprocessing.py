"""Preprocesses sensor windows before the backbone, with values fitted when the model is converted.

The converter fits it and the device applies it, so that both see the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from headway.arrays import AnyArray, Float32, describe
from headway.errors import DataError, LocalError
from headway.maths.filters import butterworth, ewma, interpolated, median_filter
from headway.maths.front_end import FrontEnd, front_apply, front_shape

MEDIAN_WIDTH_MAX = 63


class Missing(StrEnum):
    """What stands in for a missing value: the channel's constant, the last value before it in the window, or the line
    between the values around it.
    """

    CONSTANT = "constant"
    LAST = "last"
    LINEAR = "linear"


class TimeAxis(StrEnum):
    """Where time lies in a window; the channels lie at the other end."""

    FIRST = "first"
    LAST = "last"


class Denoise(StrEnum):
    """Smoothing along time within one window."""

    NONE = "none"
    MEDIAN = "median"
    EWMA = "ewma"
    LOW_PASS = "low-pass"
    HIGH_PASS = "high-pass"


PASSES = (Denoise.LOW_PASS, Denoise.HIGH_PASS)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Impute, clip, denoise, per channel along time; then the front end, if there is one; then standardise.

    time_axis: FIRST, the input is (time, ..., channels); or LAST, (channels, ..., time), as PyTorch's Conv1d takes it.

    fill: float32 (channels,), training mean or median, put where a value is missing (NaN or infinite) and, with
        Missing.LAST or LINEAR, where no earlier, or no other value of the channel in the window exists.
    low, high: float32 (channels,), bounds to which values are clipped; None leaves them.
    offset, gain: float32 (channels,), x -> (x - offset) * gain; None leaves x as it is. With a front end: of what it
        makes, (bands,) or (features,).
    median_width: odd number of time steps; ewma_weight: 0..1, the weight of the newest value. cutoff: of a low or high
        pass, in cycles per time step, above 0 and below 0.5.
    front_end: what a window becomes before the backbone; output_shape: how the backbone takes that, by default as the
        front end makes it, or `input_shape` without one.
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
    low: Float32 | None = None
    high: Float32 | None = None
    cutoff: float | None = None
    front_end: FrontEnd | None = None
    output_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        made = self._made
        if not self.output_shape:
            object.__setattr__(self, "output_shape", made)
        if math.prod(self.output_shape) != math.prod(made) or (self.front_end is None and self.output_shape != made):
            raise LocalError(f"preprocessing makes {made} of a window; that does not fit a shape {self.output_shape}")
        scaled = (self.scaled_channels,)
        for name in ("fill", "offset", "gain", "low", "high"):
            array, shape = getattr(self, name), scaled if name in ("offset", "gain") else (self.channels,)
            if array is not None and (array.shape != shape or not np.isfinite(array).all()):
                raise LocalError(f"preprocessing {name} must be finite, shape {shape}, got {describe(array)}")
        if (self.offset is None) != (self.gain is None):
            raise LocalError("standardising needs both an offset and a gain")
        if (self.low is None) != (self.high is None):
            raise LocalError("clipping needs both a low and a high bound")
        if self.low is not None and self.high is not None and (self.low > self.high).any():
            raise LocalError("a low bound of clipping lies above its high one")
        along_time = self.missing is not Missing.CONSTANT or self.denoise is not Denoise.NONE
        if along_time and len(self.input_shape) < 2:
            raise LocalError(
                f"inputs of shape {self.input_shape} have no time axis to impute or smooth along; leave it out, or "
                "give windows of several rows"
            )
        if not 3 <= self.median_width <= MEDIAN_WIDTH_MAX or self.median_width % 2 == 0:
            raise LocalError(f"median width {self.median_width} must be odd, from 3 to {MEDIAN_WIDTH_MAX}")
        if not 0 < self.ewma_weight <= 1:
            raise LocalError(f"EWMA weight {self.ewma_weight} must be above 0 and at most 1")
        if (self.cutoff is not None) != (self.denoise in PASSES):
            raise LocalError("a cutoff belongs to a low or high pass, and to nothing else")
        if self.cutoff is not None and not 0 < self.cutoff < 0.5:
            raise LocalError(f"cutoff {self.cutoff} must be above 0 and below 0.5 cycles per time step")

    @property
    def channels(self) -> int:
        """How many there are."""
        return self.input_shape[-1] if self.time_axis is TimeAxis.FIRST else self.input_shape[0]

    @property
    def scaled_channels(self) -> int:
        """How many are scaled: those of the window, or of what the front end makes."""
        return self.channels if self.front_end is None else self._made[-1]

    @property
    def _made(self) -> tuple[int, ...]:
        """Shape of a window after the front end."""
        if self.front_end is None:
            return self.input_shape
        last = self.time_axis is TimeAxis.LAST and len(self.input_shape) > 1
        first, *inner, end = self.input_shape if len(self.input_shape) > 1 else (*self.input_shape, 1)
        return front_shape(self.front_end, (end, *inner, first) if last else (first, *inner, end))

    def apply(self, x: AnyArray) -> tuple[Float32, int]:
        """x: any numeric dtype (n, *input_shape) -> float32 (n, *output_shape), and how many values were missing.

        Raises DataError when the shape is another one, or when every value of a window is missing.
        """
        values, missing = self._taken(x)
        missing_count = int(np.count_nonzero(missing))
        if missing_count:
            values = self._impute(values, missing)
        if self.low is not None and self.high is not None:
            values = np.clip(values, self.low, self.high)
        if self.denoise is Denoise.MEDIAN:
            values = median_filter(values, self.median_width)
        elif self.denoise is Denoise.EWMA:
            values = ewma(values, self.ewma_weight)
        elif self.cutoff is not None:
            values = butterworth(values, self.cutoff, high=self.denoise is Denoise.HIGH_PASS)
        if self.front_end is not None:
            return self._fronted(self.front_end, values), missing_count
        if self.offset is not None and self.gain is not None:
            values = (values - self.offset) * self.gain
        return np.ascontiguousarray(time_first(values, self.time_axis)), missing_count

    def check(self, x: AnyArray) -> None:
        """Raises what `apply` would, without its arithmetic: what comes after gaps takes any numbers."""
        self._taken(x)

    def _taken(self, x: AnyArray) -> tuple[Float32, AnyArray]:
        """Windows, time first, and which of their values are missing."""
        if x.shape[1:] != self.input_shape:
            raise DataError(
                f"samples have shape {tuple(x.shape[1:])}, the model takes {self.input_shape}; "
                f"give x as (n, {', '.join(map(str, self.input_shape))})"
            )
        if x.dtype.kind not in "fiub":
            raise DataError(f"samples have dtype {x.dtype}; give numbers (float32 is best)")
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and so counts as missing
            values = time_first(np.array(x, dtype=np.float32), self.time_axis)
        missing = ~np.isfinite(values)
        if missing.any() and (empty := missing.reshape(len(values), -1).all(axis=1)).any():
            raise DataError(f"sample {int(empty.argmax())} has no finite value; nothing can be predicted from it")
        return values, missing

    def _fronted(self, front_end: FrontEnd, values: Float32) -> Float32:
        """values: float32, time first (n, t, ..., channels) -> (n, *output_shape)."""
        made = front_apply(front_end, values)
        if self.offset is not None and self.gain is not None:
            made = (made - self.offset) * self.gain
        return np.ascontiguousarray(made.reshape(len(made), *self.output_shape))

    def _impute(self, values: Float32, missing: AnyArray) -> Float32:
        if self.missing is Missing.LAST:
            steps = np.arange(values.shape[1]).reshape(1, -1, *(1,) * (values.ndim - 2))
            last = np.maximum.accumulate(np.where(missing, 0, steps), axis=1)
            values = np.take_along_axis(values, last, axis=1)
            missing = ~np.isfinite(values)  # left: what was missing from the window's start on
        elif self.missing is Missing.LINEAR:
            values = interpolated(values, missing)
            missing = ~np.isfinite(values)  # left: channels without any value in the window
        return np.where(missing, self.fill, values).astype(np.float32)


def time_first(x: AnyArray, axis: TimeAxis) -> AnyArray:
    """A view of windows (n, ...) with time first and channels last; applied twice it is the identity."""
    return x if axis is TimeAxis.FIRST else x.swapaxes(1, -1)
