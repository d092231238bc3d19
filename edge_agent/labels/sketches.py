"""Draws a raw window small, so that people can see what they label: fewer points, 255 levels, bounded in bytes."""

from __future__ import annotations

import math

import numpy as np

from headway.arrays import Float32, Float64
from headway.wire import IMAGE, SERIES, Sketch

CHANNELS_MAX = 8
LINES_MAX = 32
LEVELS = 254


def sketch_of(window: Float32, bytes_max: int) -> Sketch | None:
    """window: float32 (n,), (time, channels) or (lines, columns, colours). None for another shape, or no number in it.

    A series keeps its first channels, as means over equal spans of time; an image is grey, as means over rectangles.
    """
    values = np.asarray(window, np.float64)
    match values.shape:
        case (_,):
            kind, small = SERIES, _spans(values[None, :], bytes_max)
        case (_, _):
            channels = values.T[: min(CHANNELS_MAX, bytes_max)]
            kind, small = SERIES, _spans(channels, bytes_max // len(channels)) if len(channels) else values
        case (lines, columns, _) if values.size:
            scale = min(1.0, math.sqrt(bytes_max / (lines * columns)), LINES_MAX / lines)
            rows = max(1, min(int(lines * scale), bytes_max))
            wide = _spans(_mean(values, 2), max(1, min(int(columns * scale), bytes_max // rows)))
            kind, small = IMAGE, _spans(wide.T, rows).T
        case _:
            return None
    known = small[np.isfinite(small)]
    if not known.size:
        return None
    low, high = float(f"{known.min():.6g}"), float(f"{known.max():.6g}")
    low, high = min(low, high), max(low, high)
    span = (high - low) or 1.0
    levels = np.clip(np.round((np.where(np.isfinite(small), small, low) - low) / span * LEVELS), 0, LEVELS) + 1
    codes = np.where(np.isfinite(small), levels, 0).astype(np.uint8)
    return Sketch(kind, low, high, tuple(row.tobytes() for row in codes))


def _spans(rows: Float64, points: int) -> Float64:
    """Means over at most so many equal spans of each row; NaN where a span holds no number."""
    count = rows.shape[1]
    if count <= points or not points:
        return rows
    edges = np.linspace(0, count, points + 1).astype(int)
    return np.stack([_mean(rows[:, edges[at] : edges[at + 1]], 1) for at in range(points)], axis=1)


def _mean(values: Float64, axis: int) -> Float64:
    """Of the finite ones; NaN where there is none."""
    finite = np.isfinite(values)
    counts = finite.sum(axis=axis)
    total = np.where(finite, values, 0.0).sum(axis=axis)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)
