"""Charts as inline SVG, drawn without a library: a device has none. Colours are variables of the page's style."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from headway.arrays import AnyArray

# on white and on black paper each has a contrast of 4.5 at least
STYLE = (
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--grid:#d5dae1;--alarm:#a4262c;--change:#5a6472;"
    "--c0:#0b62b0;--c1:#b04816;--c2:#5a6472;--c3:#1b7f4b;--c4:#7a3fa0;--c5:#8a6100;--heat:11,98,176}"
    "@media(prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e4e8ee;--grid:#39424e;--alarm:#ff8a8a;"
    "--change:#9aa7b8;--c0:#6db3f2;--c1:#f09a6b;--c2:#aab6c6;--c3:#6fcf9b;--c4:#c79be8;--c5:#e0b64c;"
    "--heat:109,179,242}}svg text{fill:var(--ink)}"
)
COLOURS = 6
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 240, 58, 34, 12
LETTER, SWATCH, ROW = 6.4, 28, 17  # of the legend, in units of the drawing
ALARM, CHANGE = "alarm", "change"


def lines(
    series: Mapping[str, AnyArray],
    label: str,
    marks: Sequence[tuple[float, str, str]] = (),
    ends: tuple[float, float] = (0, 1),
) -> str:
    """Curves over the same range of x, `ends`. series: values (n,), NaN where there is none; marks: x, a title, and
    what it is, `ALARM` (a line) or `CHANGE` (dashes).
    """
    finite = np.concatenate([values[np.isfinite(values)] for values in series.values()])
    low, high = min(0.0, float(finite.min(initial=0.0))), float(finite.max(initial=0.0)) or 1.0
    span = max(ends[1] - ends[0], 1e-12)
    legend, top = _legend(series)
    parts = [_frame(label, low, high, ends, top), *legend]
    for at, title, kind in marks:
        x = LEFT + (at - ends[0]) / span * (WIDTH - LEFT - 8)
        dashes = ' stroke-dasharray="4 3"' if kind == CHANGE else ""
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{HEIGHT - BOTTOM}" style="stroke:var(--{kind})"{dashes}>'
            f"<title>{html.escape(title)}</title></line>"
        )
    for index, values in enumerate(series.values()):
        xs = LEFT + (np.arange(len(values)) + 0.5) / max(len(values), 1) * (WIDTH - LEFT - 8)
        points = " ".join(
            f"{x:.1f},{_y(value, low, high, top):.1f}"
            for x, value in zip(xs, values, strict=True)
            if np.isfinite(value)
        )
        wide = 2.6 if index == 0 else 1.4  # the first is what the page is about
        parts.append(
            f'<polyline points="{points}" fill="none" style="stroke:var(--c{index % COLOURS})" stroke-width="{wide}"/>'
        )
    return _svg(parts)


def _legend(names: Iterable[str]) -> tuple[list[str], int]:
    """Names in their colours, in as many rows as they need; and where the drawing below them begins."""
    parts, x, row = [], float(LEFT), 0
    for index, name in enumerate(names):
        wide = SWATCH + LETTER * len(name) + 14
        if x > LEFT and x + wide > WIDTH:
            x, row = float(LEFT), row + 1
        y = 13 + ROW * row
        parts.append(
            f'<line x1="{x:.0f}" x2="{x + SWATCH - 8:.0f}" y1="{y - 4}" y2="{y - 4}" '
            f'style="stroke:var(--c{index % COLOURS})" stroke-width="3"/>'
            f'<text x="{x + SWATCH - 3:.0f}" y="{y}" font-size="12">{html.escape(name)}</text>'
        )
        x += wide
    return parts, TOP + ROW * (row + 1)


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
                f'height="{HEIGHT - BOTTOM - y:.1f}" style="fill:var(--c0)"/>'
            )
    for index, mark in enumerate([] if marks is None else marks):
        if np.isfinite(mark):
            parts.append(
                f'<circle cx="{LEFT + (index + 0.5) * width:.1f}" cy="{_y(mark, 0.0, high):.1f}" r="4" '
                'style="fill:var(--c1);stroke:var(--paper)"/>'
            )
    return _svg(parts)


def _y(value: float, low: float, high: float, top: int = TOP) -> float:
    span = high - low
    return HEIGHT - BOTTOM - (float(value) - low) / (span if span > 0 else 1.0) * (HEIGHT - BOTTOM - top)


def _frame(label: str, low: float, high: float, ends: tuple[float, float], top: int = TOP) -> str:
    floor = HEIGHT - BOTTOM
    ticks = "".join(
        f'<text x="{LEFT - 6}" y="{_y(value, low, high, top) + 4:.1f}" text-anchor="end" font-size="11">'
        f"{value:.3g}</text>"
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{_y(value, low, high, top):.1f}" '
        f'y2="{_y(value, low, high, top):.1f}" style="stroke:var(--grid)"/>'
        for value in np.linspace(low, high, 5)
    )
    return (
        f'{ticks}<text x="{LEFT}" y="{floor + 16}" font-size="11">{ends[0]:g}</text>'
        f'<text x="{WIDTH - 8}" y="{floor + 16}" text-anchor="end" font-size="11">{ends[1]:g}</text>'
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 4}" text-anchor="middle" font-size="12">'
        f"{html.escape(label)}</text>"
    )


def _svg(parts: Sequence[str]) -> str:
    drawn = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui,sans-serif">{"".join(parts)}</svg>'
    return f'<div class="scroll">{drawn}</div>'
