"""Draws the sketch of a window as outlines for an SVG: lines for a series, squares by brightness for an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from headway.wire import IMAGE, Sketch

WIDTH, HEIGHT, EDGE = 640, 180, 6
PIXEL = 10
# of an image: classes of brightness, from dark to light
SHADES = 12
LEVELS = 255


@dataclass(frozen=True, slots=True)
class Outline:
    """kind: the class that colours it. path: the attribute ``d``."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """width, height: of the view. words: the same for who does not see it. low, high: what its edges stand for."""

    kind: str
    width: int
    height: int
    outlines: tuple[Outline, ...]
    words: str
    low: float
    high: float


def drawing_of(sketch: Sketch) -> Drawing:
    """Of any sketch that the wire lets pass."""
    count, length = len(sketch.rows), len(sketch.rows[0])
    span = f"from {sketch.low:g} to {sketch.high:g}"
    if sketch.kind == IMAGE:
        words = f"Sketch of an image, {length} by {count} points, {span}"
        width, height = length * PIXEL, count * PIXEL
        return Drawing(IMAGE, width, height, tuple(_shades(sketch)), words, sketch.low, sketch.high)
    channels = f"{count} channels" if count > 1 else "one channel"
    words = f"Sketch of the signal, {channels}, {length} points, {span}"
    lines = tuple(Outline(f"trace-{at + 1}", _line(row)) for at, row in enumerate(sketch.rows))
    return Drawing(sketch.kind, WIDTH, HEIGHT, lines, words, sketch.low, sketch.high)


def _line(row: bytes) -> str:
    """From left to right; a missing value is a gap, a value between gaps a short stroke."""
    step = WIDTH / max(len(row) - 1, 1)
    parts, pen = list[str](), "M"
    for at, code in enumerate(row):
        if not code:
            pen = "M"
            continue
        x = at * step
        y = EDGE + (HEIGHT - 2 * EDGE) * (LEVELS - code) / (LEVELS - 1)
        alone = pen == "M" and (at + 1 == len(row) or not row[at + 1])
        parts.append(f"{pen}{x:.1f} {y:.1f}" + ("h2" if alone else ""))
        pen = "L"
    return "".join(parts)


def _shades(sketch: Sketch) -> Iterator[Outline]:
    squares: dict[str, list[str]] = {}
    for line, row in enumerate(sketch.rows):
        for column, code in enumerate(row):
            shade = "missing" if not code else f"shade-{(code - 1) * SHADES // LEVELS}"
            squares.setdefault(shade, []).append(f"M{column * PIXEL} {line * PIXEL}h{PIXEL}v{PIXEL}h-{PIXEL}z")
    yield from (Outline(shade, "".join(parts)) for shade, parts in sorted(squares.items()))
