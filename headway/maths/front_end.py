"""What turns a raw window into what a network takes: a log-mel picture of sound, or features by name."""

from __future__ import annotations

import math

import numpy as np

from headway.arrays import Float32
from headway.errors import LocalError
from headway.maths.log_mel import LogMel
from headway.maths.window_features import WindowFeatures

FrontEnd = LogMel | WindowFeatures
# what a front end may take of memory and time, whatever a bundle asks for
VALUES_MAX = 1 << 24


def front_shape(front_end: FrontEnd, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what it makes of a window of `shape`, time first. Raises LocalError where it cannot take one."""
    if isinstance(front_end, WindowFeatures):
        return (front_end.size(math.prod(shape[1:])),)
    samples = math.prod(shape)
    if samples != max(shape) or samples < front_end.frame:
        raise LocalError(
            f"windows of shape {shape} are no sound: log-mel pictures need one channel of at least "
            f"{front_end.frame} samples"
        )
    frames = 1 + (samples - front_end.frame) // front_end.hop
    if frames * front_end.fft > VALUES_MAX:
        raise LocalError(f"{frames} frames of {front_end.fft} values are too many (at most {VALUES_MAX}); longer hops")
    return (frames, front_end.coefficients or front_end.bands)


def front_apply(front_end: FrontEnd, windows: Float32) -> Float32:
    """float32 (n, *shape), time first -> float32 (n, *front_shape). Window by window: what a window becomes does not
    depend on what it came with, to the bit.
    """
    if isinstance(front_end, LogMel):
        return np.concatenate([front_end.apply(window.reshape(1, -1)) for window in windows])
    return front_end.apply(windows)
