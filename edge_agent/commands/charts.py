"""Charts as inline SVG, drawn without a library: a device has none. Colours are variables of the page's style."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from headway.arrays import AnyArray

# on white and on black paper each has a contrast of 4.5 at least
STYLE = (
    ":root{color-scheme:light dark;--paper:#fff;--ink:#1c2430;--grid:#d5dae1;--alarm:#a4262c;--change:#5a6472;"
    "--c0:#0b62b0;--c1:#b04816;--c2:#5a6472;--c3:#1b7f4b;--c4:#7a3fa0;--c5:#8a6100;--heat:11,98,176}"
    "@media(prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e4e8ee;--grid:#39424e;--alarm:#ff8a8a;"
    "--change:#9aa7b8;--c0:#6db3f2;--c1:#f09a6b;--c2:#aab6c6;--c3:#6fcf9b;--c4:#c79be8;--c5:#e0b64c;"
    "--heat:109,179,242}}svg text{fill:var(--ink);font-size:12px}"
    # letters are in units of the drawing, which is half as wide on a phone
    "@media(max-width:40rem){svg text{font-size:21px}}.legend{margin:0}"
    ".legend span{display:inline-block;margin-right:1em}"
    ".legend i{display:inline-block;width:1.4em;height:.2em;margin-right:.4em;vertical-align:middle}"
)
COLOURS = 6
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 280, 70, 48, 14
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
    parts = [_frame(label, low, high, ends)]
    for at, title, kind in marks:
        x = LEFT + (at - ends[0]) / span * (WIDTH - LEFT - 8)
        dashes = ' stroke-dasharray="4 3"' if kind == CHANGE else ""
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" style="stroke:var(--{kind})"{dashes}>'
            f"<title>{html.escape(title)}</title></line>"
        )
    for index, values in enumerate(series.values()):
        xs = LEFT + (np.arange(len(values)) + 0.5) / max(len(values), 1) * (WIDTH - LEFT - 8)
        points = " ".join(
            f"{x:.1f},{_y(value, low, high):.1f}" for x, value in zip(xs, values, strict=True) if np.isfinite(value)
        )
        wide = 2.6 if index == 0 else 1.4  # the first is what the page is about
        parts.append(
            f'<polyline points="{points}" fill="none" style="stroke:var(--c{index % COLOURS})" stroke-width="{wide}"/>'
        )
    names = "".join(
        f'<span><i style="background:var(--c{index % COLOURS})"></i>{html.escape(name)}</span>'
        for index, name in enumerate(series)
    )
    return f'<p class="legend">{names}</p>{_svg(parts)}'


def shown(value: float) -> str:
    """A figure as people write it: four digits, whole from a thousand on, a dash where there is none."""
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e12 else f"{value:.4g}"


def short(value: float) -> str:
    """A figure left of an axis, where there is room for six letters."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < 99_999.5 else f"{value:.3g}"


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


def _y(value: float, low: float, high: float) -> float:
    span = high - low
    return HEIGHT - BOTTOM - (float(value) - low) / (span if span > 0 else 1.0) * (HEIGHT - BOTTOM - TOP)


def _frame(label: str, low: float, high: float, ends: tuple[float, float]) -> str:
    floor = HEIGHT - BOTTOM
    ticks = "".join(
        f'<text x="{LEFT - 6}" y="{_y(value, low, high) + 4:.1f}" text-anchor="end">{short(value)}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{_y(value, low, high):.1f}" '
        f'y2="{_y(value, low, high):.1f}" style="stroke:var(--grid)"/>'
        for value in np.linspace(low, high, 5)
    )
    return (
        f'{ticks}<text x="{LEFT}" y="{floor + 22}">{shown(ends[0])}</text>'
        f'<text x="{WIDTH - 8}" y="{floor + 22}" text-anchor="end">{shown(ends[1])}</text>'
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{html.escape(label)}</text>"
    )


def _svg(parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-family="system-ui,sans-serif">{"".join(parts)}</svg>'
