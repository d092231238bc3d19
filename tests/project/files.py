"""The project's own files, and how GitHub names the headings of a page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# made by tools and ignored by git
_MADE = {"build", "dist", "demo-report", "case-study-report", "recipes-report", "node_modules"}
_FENCE = re.compile(r"^(```+|~~~+).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """Every Markdown file of the project, by path."""
    found = (path for path in ROOT.rglob("*.md"))
    return sorted(
        path
        for path in found
        if not any(part in _MADE or part.startswith(".v") or part == ".cache" for part in path.relative_to(ROOT).parts)
    )


def prose(text: str) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Names by which the headings of a page can be linked to, as GitHub makes them."""
    found: set[str] = set()
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number, unique = 0, name
        while unique in found:
            number += 1
            unique = f"{name}-{number}"
        found.add(unique)
    return found
