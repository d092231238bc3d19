"""Texts of devices and people never become markup, and the markup is what our policy allows."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from aggregator.access import Role
from aggregator.page.rendering import FOLDER
from tests.page.fleet import Page, PageFleet
from tests.page.hostile import ATTACK, NAME, hostile_fleet

PATHS = (
    "/",
    f"/?filter={quote(ATTACK)}",
    f"/?sort={quote(ATTACK)}",
    "/devices/pump-1",
    f"/log-in?next={quote(ATTACK)}",
    f"/{quote(ATTACK)}",
    "/?said=%3Cscript%3E",
    "/fleet/devices",
)


@pytest.mark.parametrize("path", PATHS)
def test_what_others_write_is_shown_as_text(tmp_path: Path, path: str) -> None:
    fleet = hostile_fleet(tmp_path)
    answer = fleet.browser(Role.ADMIN if "log-in" not in path else None).get(path)
    page = Page(answer.text)
    assert [found for tag, found in page.tags if tag == "script" and "src" not in found] == []
    assert [name for _, found in page.tags for name in found if name.startswith("on")] == []
    assert [found for tag, found in page.tags if tag == "img"] == []
    if path in ("/", "/devices/pump-1", "/fleet/devices"):
        assert "window.pwned=1" in page.text


def test_a_name_that_should_not_be_leads_nowhere_else(tmp_path: Path) -> None:
    page = hostile_fleet(tmp_path).browser(Role.ADMIN).page("/")
    assert NAME in page.text
    assert f"/devices/{quote(NAME, safe='')}" in page.links


def test_no_template_has_an_inline_script_style_or_handler() -> None:
    for path in FOLDER.glob("*.j2"):
        text = path.read_text()
        assert not re.search(r"\son(?!ce=)[a-z]+=", text), path.name
        assert not re.search(r"\sstyle=|<style|javascript:|\| *safe\b|autoescape", text), path.name
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path.name


def test_every_form_that_acts_has_the_token_of_its_session(shown: PageFleet) -> None:
    text = shown.browser(Role.ADMIN).get("/devices/pump-001").text
    forms = re.findall(r"<form method=\"post\".*?</form>", text, re.DOTALL)
    assert len(forms) > 8
    assert all('name="csrf" value="' in form for form in forms)
