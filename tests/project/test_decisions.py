"""Every decision says when it was made and whether it holds, and stands in the index."""

from __future__ import annotations

import re
from pathlib import Path

from tests.project.files import ROOT

FOLDER = ROOT / "docs" / "adr"
DECISIONS = sorted(FOLDER.glob("[0-9]*.md"))


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [int(path.name[:4]) for path in DECISIONS]
    assert numbers[0] == 1
    assert len(numbers) == len(set(numbers)), f"two decisions share a number: {numbers}"


def test_a_decision_has_date_and_status_and_stands_in_the_index() -> None:
    rows = (FOLDER / "README.md").read_text().splitlines()
    assert len(DECISIONS) > 80
    assert [problem for path in DECISIONS for problem in problems(path, rows)] == []


def problems(path: Path, rows: list[str]) -> list[str]:
    """What is wrong with the first lines of a decision, and with its row in the index."""
    lines = path.read_text().splitlines()
    number = int(path.name[:4])
    title = re.fullmatch(rf"# {number}\. (.+)", lines[0])
    if not title:
        return [f"{path.name} must begin with '# {number}. ' and its title"]
    stated = re.fullmatch(r"Date: (\d{4}-\d\d-\d\d) · Status: (accepted|superseded by (\d+))", lines[2])
    if not stated:
        return [f"{path.name}, line 3 must be 'Date: YYYY-MM-DD · Status: accepted' or '... superseded by N'"]
    if stated[3] and not list(FOLDER.glob(f"{int(stated[3]):04}-*.md")):
        return [f"{path.name} is superseded by {stated[3]}, and there is no such decision"]
    row = f"| {number} | [{title[1]}]({path.name}) | {stated[1]} | {stated[2]} |"
    return [] if row in rows else [f"docs/adr/README.md lacks the row {row}"]
