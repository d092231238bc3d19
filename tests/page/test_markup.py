"""Texts of devices and people never become markup, and the markup is what our policy allows."""

from __future__ import annotations

import html
import re
import shlex
from urllib.parse import quote

import click
import pytest

from aggregator.access import Role
from aggregator.commands import edge_fleet
from aggregator.page.rendering import FOLDER
from tests.page.fleet import Page, PageFleet
from tests.page.hostile import ATTACK, NAME, hostile_fleet
from tests.page.test_acts import PLACES

PATHS = (
    "/",
    f"/?filter={quote(ATTACK)}",
    f"/?sort={quote(ATTACK)}",
    "/devices/pump-1",
    "/inbox",
    f"/inbox?kind={quote(ATTACK)}",
    f"/inbox?device={quote(ATTACK)}&window={quote(ATTACK)}&last={quote(ATTACK)}",
    f"/log-in?next={quote(ATTACK)}",
    f"/{quote(ATTACK)}",
    "/?said=%3Cscript%3E",
    "/fleet/devices",
    "/?cells=heads",
    "/inbox?device=pump-1",
    "/inbox/items",
    "/inbox/window",
    "/heads",
    "/heads/list",
    f"/heads/compare?space={quote(ATTACK[:60])}&a=1&b=2",
    f"/heads/forget?device={quote(NAME)}",
    "/rollouts",
    "/rollouts/spring",
    "/rollouts/spring/now",
    f"/rollouts/new?name={quote(ATTACK)}&first={quote(NAME)}&shares=5&bundle={quote(ATTACK)}",
    "/settings",
    "/settings/alerts",
    "/settings/alerts/open",
    "/settings/join",
    "/settings/groups",
    "/settings/audit?check=true",
    *(f"/devices/pump-1/parts/{part}" for part in ("states", "windows", "commands", "events")),
)
# where nothing that others wrote is shown, or only what stands in the address
WITHOUT = {
    "/devices/pump-1/parts/states", "/settings/join", *(path for path in PATHS if "?" in path or path.startswith("/%"))
}  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> PageFleet:
    return hostile_fleet(tmp_path_factory.mktemp("fleet"))


def test_every_place_is_looked_at() -> None:
    plain = {re.sub(r"pump-1", "{device}", path.partition("?")[0]) for path in PATHS}
    plain = {re.sub(r"/(windows|commands|events)$", "/{part}", path) for path in plain}
    plain = {path.replace("/rollouts/spring", "/rollouts/{name}") for path in plain}
    # a stream of numbers, and a file that no browser shows
    assert set(PLACES) - plain == {"/live", "/devices/{device}/diagnostics/{command}"}


def test_every_command_that_is_shown_is_one_with_its_options(hostile: PageFleet) -> None:
    browser, shown = hostile.browser(Role.ADMIN), set()
    for path in (*PATHS, "/devices/pump-2"):
        for text in re.findall(r'<div class="code"><code>(.*?)</code>', browser.get(path).text):
            shown |= {part.strip() for part in html.unescape(text).partition("  #")[0].split("; edge-fleet")}
    assert len(shown) > 15
    for text in shown:
        words = shlex.split(text.removeprefix("edge-fleet"))
        command: click.Command = edge_fleet
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, text
            command = found
        known = {option for each in command.params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= known, text


@pytest.mark.parametrize("path", PATHS)
def test_what_others_write_is_shown_as_text(hostile: PageFleet, path: str) -> None:
    answer = hostile.browser(Role.ADMIN if "log-in" not in path else None).get(path)
    assert answer.status_code in (200, 404, 422), answer.text[:2000]
    page = Page(answer.text)
    assert [found for tag, found in page.tags if tag == "script" and "src" not in found] == []
    assert [name for _, found in page.tags for name in found if name.startswith("on")] == []
    assert [found for tag, found in page.tags if tag == "img"] == []
    assert [found for tag, found in page.tags if tag in ("b", "iframe", "object", "base")] == []
    assert [found for tag, found in page.tags for value in found.values() if value.startswith("javascript:")] == []
    assert not re.search(r"(?<![{])49(?![\d}])", re.sub(r"\d{2,}", "", page.text)), "no template in a text is evaluated"
    assert path in WITHOUT or "window.pwned=1" in page.text


def test_news_and_figures_for_scripts_hold_numbers_alone(hostile: PageFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.page.live.LASTS_S", 0.05)
    browser = hostile.browser(Role.ADMIN)
    pulse = r'data: {"numbers":{("[a-z]+":\d+,?)+},"stamp":"[0-9a-f-]+"}'
    for line in browser.get("/live").text.splitlines():
        assert re.fullmatch(rf"(retry: \d+|id: \d+|event: pulse|: still here|{pulse}|)", line), line
    page = browser.page("/?cells=heads")
    cells = [found["data-cells"] for _, found in page.tags if found.get("data-cells")]
    assert len(cells) >= 1
    assert all("\n" not in each and each.startswith("+11.1/9/</script><script>") for each in cells), (
        "one cell each, as text"
    )


def test_diagnostics_are_a_file_and_never_a_page(hostile: PageFleet) -> None:
    answer = hostile.browser(Role.ADMIN).get(f"/devices/pump-1/diagnostics/{0:016x}")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="pump-1-diagnostics-')
    assert answer.json() == {ATTACK: [ATTACK]}


def test_a_name_that_should_not_be_leads_nowhere_else(hostile: PageFleet) -> None:
    page = hostile.browser(Role.ADMIN).page("/")
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
