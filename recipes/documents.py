"""Writes the figures of a run into docs/recipes/NAME.md, between two comments, with command, day and machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from recipes.measuring import Measured, over, shown, table, verdicts

BEGIN, END = "<!-- figures: written by python -m recipes --docs -->", "<!-- end of figures -->"
DOCS = Path(__file__).resolve().parent.parent / "docs" / "recipes"


def write_figures(name: str, streams: Sequence[Sequence[Measured]], took: tuple[float, float]) -> Path:
    """Put the tables of a run in the place of the last one.

    streams: the runs, one a seed, of each; took: seconds, and those of a processor.
    """
    page = DOCS / f"{name}.md"
    text = page.read_text(encoding="utf-8")
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(f"{text[:begin]}\n\n{_tables(name, streams, took)}\n{text[end:]}", encoding="utf-8")
    return page


def _tables(name: str, streams: Sequence[Sequence[Measured]], took: tuple[float, float]) -> str:
    lines = []
    for runs in streams:
        first = runs[0]
        lines += [f"**{first.title}**", "", f"| method | {first.measure} | {over(runs)} |",
                  "|---|---|---|"]  # fmt: skip
        lines += [f"| {method} | {shown(m)} | {shown(a)} to {shown(b)} |" for method, m, a, b in table(runs)]
        lines += ["", *(f"- {line}" for line in (*verdicts(runs), *first.notes)), ""]
    machine = f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}"
    lines.append(
        f"`python -m recipes {name} --seeds {len(streams[0])}` on {time.strftime('%Y-%m-%d')}, {took[0]:.0f} s, "
        f"and {took[1]:.0f} s of a processor, with what had to be trained and converted; {machine}, load average "
        f"{os.getloadavg()[0]:.0f}."
    )
    return "\n".join(lines) + "\n"
