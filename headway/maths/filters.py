"""Filters of windows along time, (n, time, ..., channels): each window by itself, from its first step on."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from headway.arrays import AnyArray, Float32


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


def butterworth(values: Float32, cutoff: float, *, high: bool = False) -> Float32:
    """Low pass (or high pass) of second order, by the bilinear transform. float32 (n, t, ...) -> of the same shape.

    cutoff: cycles per time step, where half the power is left. A window begins as if its first value had lasted for
    ever, so that a constant passes the low pass unchanged and the high pass as zero. Sums are in float64, in direct
    form II transposed (Oppenheim and Schafer, Discrete-Time Signal Processing, 6.3).
    """
    omega = np.tan(np.pi * cutoff)
    norm = 1.0 / (1.0 + np.sqrt(2.0) * omega + omega * omega)
    b0, b1 = (norm, -2.0 * norm) if high else (omega * omega * norm, 2.0 * omega * omega * norm)
    b2 = b0
    a1, a2 = 2.0 * (omega * omega - 1.0) * norm, (1.0 - np.sqrt(2.0) * omega + omega * omega) * norm
    result = np.empty_like(values)
    first = values[:, 0].astype(np.float64)
    steady = first * (0.0 if high else 1.0)
    second = b2 * first - a2 * steady
    one = b1 * first - a1 * steady + second
    for step in range(values.shape[1]):
        x = values[:, step].astype(np.float64)
        y = b0 * x + one
        one = b1 * x - a1 * y + second
        second = b2 * x - a2 * y
        result[:, step] = y
    return result


def interpolated(values: Float32, missing: AnyArray) -> Float32:
    """Missing values on the line between those around them; before the first and after the last, that one's value.

    values: float32 (n, t, ...); missing: bool of the same shape. A channel without any value in a window stays.
    """
    steps = np.arange(values.shape[1]).reshape(1, -1, *(1,) * (values.ndim - 2))
    before = np.maximum.accumulate(np.where(missing, -1, steps), axis=1)
    end = values.shape[1]
    after = np.flip(np.minimum.accumulate(np.flip(np.where(missing, end, steps), axis=1), axis=1), axis=1)
    empty = (before < 0) & (after == end)
    left = np.where(before < 0, after, before).clip(0, end - 1)
    right = np.where(after == end, before, after).clip(0, end - 1)
    # a channel without any value has nothing but what is missing at its ends
    known = np.where(missing, 0.0, values)
    low = np.take_along_axis(known, left, axis=1).astype(np.float64)
    high = np.take_along_axis(known, right, axis=1).astype(np.float64)
    share = (steps - left) / np.maximum(right - left, 1)
    filled = np.where(right > left, low + (high - low) * share, low)
    return np.where(missing & ~empty, filled, values).astype(np.float32)
