"""The course in docs/learn is one program, and every line of it is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

COURSE = Path(__file__).parents[2] / "docs" / "learn"
PAGES = sorted(COURSE.glob("[0-9]-*.md"))


def test_every_snippet_runs_page_after_page() -> None:
    pytest.importorskip("sklearn")
    names: dict[str, object] = {}
    for page in PAGES:
        snippets = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
        assert len(snippets) >= 3
        for snippet in snippets:
            exec(compile(snippet, page.name, "exec"), names)


def test_the_front_page_names_every_page() -> None:
    front = (COURSE / "README.md").read_text()
    assert [page.name for page in PAGES if page.name not in front] == []
