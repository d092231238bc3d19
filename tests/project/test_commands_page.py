"""docs/reference/commands.md lists what the programs can do, and the other pages call no command that is none."""

from __future__ import annotations

import re

from edge_agent.cli import parser
from headway import errors
from scripts.commands import PAGE, page
from scripts.man_pages import EXIT_CODES, man_page
from scripts.man_pages import PAGE as MAN_PAGE
from tests.project.files import ROOT

KNOWN = {
    tuple(words) for words in (re.findall(r"[\w-]+", row)[:3] for row in re.findall(r"^\| `(.*?)` \|", page(), re.M))
}
COMMANDS = {words[:2] for words in KNOWN}
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_the_page_is_what_the_programs_say() -> None:
    assert PAGE.read_text() == page(), "run: make configuration"


def test_the_manual_page_is_what_the_program_says_and_names_its_exit_codes() -> None:
    assert MAN_PAGE.read_text() == man_page(parser()), "run: make configuration"
    families = {each.exit_code for each in vars(errors).values() if hasattr(each, "exit_code")}
    assert families - {code for code, _ in EXIT_CODES} == {errors.ModelError.exit_code}, "a device converts no model"


def test_no_page_calls_a_command_that_is_none() -> None:
    named = {str(path.relative_to(ROOT)): called(path.read_text()) for path in PAGES}
    assert sum(map(len, named.values())) > 100
    assert {path: pairs - COMMANDS for path, pairs in named.items() if pairs - COMMANDS} == {}


def called(text: str) -> set[tuple[str, ...]]:
    """Programs and their commands that a page names."""
    return set(re.findall(r"\b(edge-fleet|edge-agent) ([a-z][a-z-]+)\b", "\n".join(quoted(text))))


def quoted(text: str) -> list[str]:
    """What stands in code, as a block or in a line."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.M | re.S)
    return [*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))]
