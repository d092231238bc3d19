"""docs/threat-model.md: each line names a test that exists, or says that nothing protects."""

from __future__ import annotations

import ast
import re

from tests.project.files import ROOT

PAGE = (ROOT / "docs" / "threat-model.md").read_text()
OPEN = "**not protected**"


def lines() -> list[list[str]]:
    """The cells of each line of a table, headings left out."""
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row] for row in rows]
    return [row for row in cells if not row[0].startswith(("---", "what they try"))]


def test_every_line_names_a_test_that_exists_or_says_not_protected() -> None:
    assert len(lines()) > 30
    wrong = []
    for row in lines():
        assert len(row) == 3, row
        named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[2])
        if named is None:
            wrong += [] if row[2] == OPEN else [row]
            continue
        file = ROOT / named[1]
        there = file.exists() and any(
            isinstance(node, ast.FunctionDef) and node.name == named[2] for node in ast.parse(file.read_text()).body
        )
        wrong += [] if there else [row]
    assert wrong == []


def test_all_who_may_attack_have_a_section_with_something_that_is_not_protected() -> None:
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    titles = [section.splitlines()[0].lower() for section in sections]
    for who in ("owner of a device", "stolen a device", "operator of the broker", "network", "operator of the server"):
        assert any(who in title for title in titles), who
    assert any("supply chain" in title for title in titles)
    assert PAGE.count(OPEN) >= 8
