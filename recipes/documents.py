"""Writes the figures of a run into docs/recipes/NAME.md, between two comments, with command and machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from recipes.measuring import Measured, shown, table, verdicts

BEGIN, END = "<!-- figures: written by python -m recipes --docs -->", "<!-- end of figures -->"
DOCS = Path(__file__).resolve().parent.parent / "docs" / "recipes"


def write_figures(name: str, streams: Sequence[Sequence[Measured]], seconds: float) -> Path:
    """Put the tables of a run in the place of the last one. streams: the runs, one a seed, of each."""
    page = DOCS / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(f"{text[:begin]}\n\n{_tables(name, streams, seconds)}\n{text[end:]}", encoding="utf-8")
    return page


def _tables(name: str, streams: Sequence[Sequence[Measured]], seconds: float) -> str:
    lines = []
    for runs in streams:
        first, seeds = runs[0], len(runs)
        over = f"over {seeds} seed{'s' if seeds > 1 else ''}"
        lines += [f"**{first.title}**", "", f"| method | {first.measure} | {over} |",
                  "|---|---|---|"]  # fmt: skip
        lines += [f"| {method} | {shown(m)} | {shown(a)} to {shown(b)} |" for method, m, a, b in table(runs)]
        lines += ["", *(f"- {line}" for line in (*verdicts(runs), *first.notes)), ""]
    load = os.getloadavg()[0]
    lines.append(
        f"`python -m recipes {name}`, {seconds:.0f} s with what had to be trained and converted, {os.cpu_count()} "
        f"cores of {platform.machine()}, Python {platform.python_version()}, load average {load:.0f}."
    )
    return "\n".join(lines) + "\n"
