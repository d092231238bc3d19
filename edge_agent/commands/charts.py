"""Charts as inline SVG, drawn without a library: a device has none."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from headway.arrays import AnyArray

COLOURS = ("#0b62b0", "#c4501b", "#5a6472", "#1b7f4b", "#7a3fa0", "#a4262c")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 240, 52, 34, 26


def lines(
    series: Mapping[str, AnyArray],
    label: str,
    marks: Sequence[tuple[float, str]] = (),
    ends: tuple[float, float] = (0, 1),
) -> str:
    """Curves over the same range of x, `ends`. series: values (n,), NaN where there is none; marks: x and a title."""
    finite = np.concatenate([values[np.isfinite(values)] for values in series.values()])
    low, high = min(0.0, float(finite.min(initial=0.0))), float(finite.max(initial=0.0)) or 1.0
    span = max(ends[1] - ends[0], 1e-12)
    parts = [_frame(label, low, high, ends)]
    for at, title in marks:
        x = LEFT + (at - ends[0]) / span * (WIDTH - LEFT - 8)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#a4262c" '
            f'stroke-dasharray="4 3"><title>{html.escape(title)}</title></line>'
        )
    for index, (name, values) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        xs = LEFT + (np.arange(len(values)) + 0.5) / max(len(values), 1) * (WIDTH - LEFT - 8)
        points = " ".join(
            f"{x:.1f},{_y(value, low, high):.1f}" for x, value in zip(xs, values, strict=True) if np.isfinite(value)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(f'<text x="{LEFT + 150 * index}" y="14" fill="{colour}" font-size="12">{html.escape(name)}</text>')
    return _svg(parts)


def bars(heights: AnyArray, label: str, ends: tuple[float, float], marks: AnyArray | None = None) -> str:
    """A histogram over the range `ends`; marks: a dot for each bar, NaN for none."""
    every = heights if marks is None else np.concatenate([heights, marks])
    high = float(np.nanmax(every, initial=0.0)) or 1.0
    width = (WIDTH - LEFT - 8) / max(len(heights), 1)
    parts = [_frame(label, 0.0, high, ends)]
    for index, height in enumerate(heights):
        if np.isfinite(height):
            y = _y(height, 0.0, high)
            parts.append(
                f'<rect x="{LEFT + index * width + 1:.1f}" y="{y:.1f}" width="{width - 2:.1f}" '
                f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{COLOURS[0]}"/>'
            )
    for index, mark in enumerate([] if marks is None else marks):
        if np.isfinite(mark):
            parts.append(
                f'<circle cx="{LEFT + (index + 0.5) * width:.1f}" cy="{_y(mark, 0.0, high):.1f}" r="4" '
                f'fill="{COLOURS[1]}"/>'
            )
    return _svg(parts)


def _y(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (float(value) - low) / max(high - low, 1e-12) * (HEIGHT - BOTTOM - TOP)


def _frame(label: str, low: float, high: float, ends: tuple[float, float]) -> str:
    floor = HEIGHT - BOTTOM
    ticks = "".join(
        f'<text x="{LEFT - 6}" y="{_y(value, low, high) + 4:.1f}" text-anchor="end" font-size="11">{value:.3g}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{_y(value, low, high):.1f}" y2="{_y(value, low, high):.1f}" '
        'stroke="#d5dae1"/>'
        for value in np.linspace(low, high, 5)
    )
    return (
        f'{ticks}<text x="{LEFT}" y="{floor + 16}" font-size="11">{ends[0]:g}</text>'
        f'<text x="{WIDTH - 8}" y="{floor + 16}" text-anchor="end" font-size="11">{ends[1]:g}</text>'
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle" font-size="12">'
        f"{html.escape(label)}</text>"
    )


def _svg(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui,sans-serif">{"".join(parts)}</svg>'
