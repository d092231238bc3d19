"""The page for who has no mouse, sees little, or minds motion: in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aggregator.access import Role
from aggregator.inbox import wanted_view
from aggregator.store.rows import LABEL_ACTS, ROLLOUT_ACTS
from testbed.shown_inbox import fill_inbox
from testbed.shown_steering import fill_steering
from tests.page.conftest import Visit
from tests.page.fleet import PageFleet
from tests.page.test_chromium import replace_clock

pytestmark = pytest.mark.browser
Visiting = Callable[..., Visit]
Serving = Callable[[PageFleet], str]
# what a focus looks like: an outline, or a ring in its place
RING = """() => { const s = getComputedStyle(document.activeElement);
  return (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2) || s.boxShadow !== 'none'; }"""
NAME = """() => { const e = document.activeElement;
  if (e === document.body) return '';
  return (e.getAttribute('aria-label') || (e.matches('input, select, textarea') ? e.value : e.textContent)).trim(); }"""


@pytest.fixture
def busy(tmp_path: Path) -> PageFleet:
    fleet = replace_clock(PageFleet(tmp_path, 12))
    now_s = fleet.clock.wall_s()
    fill_inbox(fleet.store, fleet.names, now_s)
    fill_steering(fleet.store, fleet.base.settings.state_dir, fleet.base.settings.bundle, fleet.names, now_s)
    return fleet


def tab_to(tab: Any, wanted: str, most: int = 120) -> None:
    """Press Tab until something of this name has the focus; each stop on the way must be seen."""
    for _ in range(most):
        tab.keyboard.press("Tab")
        name = tab.evaluate(NAME)
        assert not name or tab.evaluate(RING), f"nobody sees that {name!r} has the focus"
        if wanted in name:
            return
    raise AssertionError(f"{wanted!r} is not reached by Tab")


def test_a_window_is_labelled_and_a_rollout_approved_by_tab_and_enter_alone(
    busy: PageFleet, serve: Serving, visit: Visiting
) -> None:
    person = visit(busy, serve(busy), Role.OPERATOR)
    tab = person.open("/inbox")
    with busy.store.transaction():
        device = tab.locator("#window input[name=device]").first.get_attribute("value")
        first = wanted_view(busy.store, device).windows[0].id
    tab_to(tab, "Skip to the content")
    tab.keyboard.press("Enter")
    tab_to(tab, "leak")
    with tab.expect_response("**/inbox/label"):
        tab.keyboard.press("Enter")
    tab.get_by_text(f"{first} of {device} is leak").wait_for()
    with busy.store.transaction():
        assert [(act.window, act.class_name) for act in busy.store.rows(LABEL_ACTS).all(device)] == [(first, "leak")]
    tab.goto("/rollouts/autumn")
    asked: list[str] = []
    tab.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.accept()))
    tab_to(tab, "Approve this stage")
    tab.keyboard.press("Enter")
    tab.get_by_text("approve by user:olga").wait_for()
    assert len(asked) == 1
    with busy.store.transaction():
        assert [act.act for act in busy.store.rows(ROLLOUT_ACTS).all()] == ["approve"]


def test_bars_and_plots_have_names_and_a_table_has_their_figures(
    busy: PageFleet, serve: Serving, visit: Visiting
) -> None:
    tab = visit(busy, serve(busy), Role.VIEWER).open("/")
    for path in ("/", "/?cells=heads"):
        tab.goto(path)
        bars = tab.get_by_role("img", name="points against the frozen head")
        none = tab.get_by_role("img", name="no labels")
        assert bars.count() + none.count() == tab.locator("[data-row]").count()
        assert bars.count() > 0
    tab.goto("/devices/pump-001")
    chart = tab.get_by_role("img", name="Accuracy of served and frozen head by day")
    chart.wait_for()
    tab.get_by_text("By day, as a table").click()
    days = tab.get_by_role("table", name="Accuracy on the labels of a day")
    assert days.get_by_role("row").count() > 10
    tab.get_by_text("By head that served, as a table").click()
    heads = tab.get_by_role("table", name="What was scored from one change")
    assert heads.get_by_role("rowheader").count() >= 2
    for head in ("served", "frozen"):
        assert tab.get_by_role("group", name=f"Confusion of the {head} head").count() == 1
    assert tab.get_by_role("img", name="Sketch of the signal").count() >= 1
    # every picture without a name of its own is hidden from who listens
    nameless = "svg:not([aria-label]):not([aria-hidden])"
    for path in ("/", "/devices/pump-001", "/inbox", "/heads", "/rollouts/autumn", "/settings/alerts"):
        tab.goto(path)
        assert tab.locator(nameless).count() == 0, path


def test_nothing_moves_for_who_minds_motion(busy: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(busy, serve(busy), Role.OPERATOR, reduced_motion="reduce").open("/")
    moving = """() => [...document.querySelectorAll('*')].filter(e => { const s = getComputedStyle(e);
      return parseFloat(s.transitionDuration) > 0 || s.animationName !== 'none' || s.scrollBehavior === 'smooth'; })
      .length"""
    for path in ("/", "/devices/pump-001", "/inbox", "/heads", "/rollouts/autumn"):
        tab.goto(path)
        assert tab.evaluate(moving) == 0, path


@pytest.mark.slow
def test_every_place_is_black_on_white_on_paper_also_for_who_reads_in_the_dark(
    busy: PageFleet, serve: Serving, visit: Visiting
) -> None:
    tab = visit(busy, serve(busy), Role.ADMIN, color_scheme="dark").open("/")
    tab.evaluate("localStorage.setItem('headway-theme', 'dark')")
    for path in ("/", "/devices/pump-001", "/inbox", "/heads", "/rollouts/autumn", "/settings", "/settings/audit"):
        tab.goto(path)
        tab.emulate_media(media="print")
        colours = tab.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        assert colours == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"], path
        assert not tab.locator("header.top").is_visible()
        assert tab.locator("form:visible").count() == 0, path
        tab.emulate_media(media="screen")
