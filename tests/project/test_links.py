"""Every link from one page of the project to another leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from tests.project.files import ROOT, anchors, pages, prose

_LINK = re.compile(r"!?\[(?:[^][]|\[[^]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def broken(page: Path, text: str) -> list[str]:
    """Links of one page to files or headings that do not exist."""
    found = []
    for link in _LINK.findall(prose(text)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            found.append(f"{link}: there is no {target}")
        elif not target.is_relative_to(ROOT):
            found.append(f"{link}: leads out of the repository")
        elif anchor and target.suffix == ".md":
            known = anchors(text if target == page else target.read_text())
            if anchor not in known:
                found.append(f"{link}: {target.name} has no heading #{anchor}")
    return found


def test_links_lead_somewhere() -> None:
    found = {str(page.relative_to(ROOT)): broken(page, page.read_text()) for page in pages()}
    assert len(found) > 100
    assert {page: problems for page, problems in found.items() if problems} == {}


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "# A heading, here\n[a](#a-heading-here) [b](#elsewhere) [c](none.md)\n```\n[d](in-code.md)\n```\n"
    assert [complaint.split(":")[0] for complaint in broken(ROOT / "README.md", text)] == ["#elsewhere", "none.md"]


def test_headings_are_named_as_github_names_them() -> None:
    text = "# One: `two` & [three](x.md)\n## Same\n## Same\n```\n# no heading\n```\n"
    assert anchors(text) == {"one-two--three", "same", "same-1"}
