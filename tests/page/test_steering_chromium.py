"""Heads, rollouts and settings in a real browser: live, acted on, read by everybody, on a phone and on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aggregator.access import Role
from aggregator.store.rows import ROLLOUT_ACTS, ROLLOUTS, TOKENS
from headway.ports import SystemClock
from tests.page.axe import violations
from tests.page.conftest import Visit
from tests.page.fleet import PageFleet
from tests.page.steering import HOSTILE, bundle, steer

pytestmark = pytest.mark.browser
Visiting = Callable[..., Visit]
Serving = Callable[[PageFleet], str]
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
COMPARED = f"/heads/compare?space={bundle().space}&a=2&b=5"
PLACES = (
    "/heads", COMPARED, "/heads/forget?device=pump-001", "/rollouts", "/rollouts/spring", "/rollouts/new?name=summer",
    "/settings", "/settings/alerts", "/settings/join", "/settings/groups", "/settings/audit?check=true",
)  # fmt: skip


@pytest.fixture
def running(tmp_path: Path) -> PageFleet:
    """With a clock that goes, as news need one."""
    fleet, real = PageFleet(tmp_path, 20), SystemClock()
    steer(fleet)
    began_s = real.monotonic_s()
    fleet.clock.follow(lambda: real.monotonic_s() - began_s)
    return fleet


def said_yes(tab: Any) -> list[str]:
    """Questions that the page asks are answered with yes, and kept."""
    asked: list[str] = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.message)
        dialog.accept()

    tab.on("dialog", answer)
    return asked


def test_a_rollout_is_followed_live_and_halted_after_a_question(
    running: PageFleet, serve: Serving, visit: Visiting
) -> None:
    tab = visit(running, serve(running), Role.OPERATOR).open("/rollouts/spring")
    asked = said_yes(tab)
    tab.get_by_text("Live", exact=True).wait_for()
    with running.store.transaction():
        row = running.store.rows(ROLLOUTS).get("spring")
        assert row is not None
        running.store.rows(ROLLOUTS).put(replace(row, state="waits-for-approval", why="stage 2 has passed"))
        known = running.store.registry.get("pump-001")
        assert known is not None
        running.store.registry.put([replace(known, last_seen_s=running.clock.wall_s(), counter=known.counter + 1)])
    tab.get_by_text("waits for approval").wait_for()
    tab.get_by_text("stage 2 has passed").wait_for()
    tab.get_by_label("Remark").fill(HOSTILE)
    tab.get_by_role("button", name="Halt", exact=True).click()
    tab.get_by_text("The running service does it within a second or two.").wait_for()
    assert len(asked) == 1
    assert "Halt spring for good?" in asked[0]
    assert tab.get_by_text(HOSTILE).count() >= 1
    with running.store.transaction():
        assert [(act.act, act.remark) for act in running.store.rows(ROLLOUT_ACTS).all()] == [("halt", HOSTILE)]


def test_a_token_is_copied_once_and_two_heads_are_compared_by_hand(
    running: PageFleet, serve: Serving, visit: Visiting
) -> None:
    person = visit(running, serve(running), Role.ADMIN)
    tab = person.open("/settings")
    tab.get_by_label("What it is for").fill("laptop")
    tab.get_by_role("button", name="Make a token").click()
    tab.get_by_role("heading", name="A new token, shown this once").wait_for()
    token = tab.locator(".once code").first.text_content()
    assert token.startswith("hwt_")
    asked = said_yes(tab)
    tab.get_by_role("button", name="Revoke laptop").click()
    tab.get_by_text("Revoked. It is refused from now on.").wait_for()
    assert "Revoke token laptop of ada?" in asked[0]
    with running.store.transaction():
        assert not [row for row in running.store.rows(TOKENS).where(user="ada") if row.label == "laptop"]
    tab.goto("/heads")
    tab.locator('input[name="a"][value="1"]').check()
    tab.locator('input[name="b"][value="6"]').check()
    tab.get_by_role("button", name="Compare the two").click()
    tab.get_by_role("heading", name="Head 1 and head 6").wait_for()


def test_a_join_code_is_a_picture_that_is_not_shown_again(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.OPERATOR, **PHONE).open("/settings/join")
    tab.get_by_label("Name of the device").fill("pump-77")
    tab.get_by_role("button", name="Make a code").click()
    picture = tab.get_by_role("img", name="QR code of the command beside it")
    picture.wait_for()
    box = picture.bounding_box()
    assert box["width"] == box["height"] >= 200
    assert violations(tab) == []
    tab.goto("/settings/join")
    assert tab.get_by_role("img", name="QR code of the command beside it").count() == 0


@pytest.mark.parametrize(
    ("scheme", "options"),
    [pytest.param("light", {}, marks=pytest.mark.slow), ("dark", PHONE),
     pytest.param("dark", {}, marks=pytest.mark.slow),
     pytest.param("light", PHONE, marks=pytest.mark.slow)],
    ids=["light desk", "dark phone", "dark desk", "light phone"],
)  # fmt: skip
def test_nothing_keeps_people_from_reading_it(
    running: PageFleet, serve: Serving, visit: Visiting, scheme: str, options: dict[str, Any]
) -> None:
    person = visit(running, serve(running), Role.ADMIN, color_scheme=scheme, **options)
    tab = person.open("/heads")
    for path in PLACES:
        tab.goto(path)
        assert violations(tab) == [], path
        assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"], path
    person.complaints[:] = [each for each in person.complaints if "422" not in each]


def test_all_of_it_is_read_and_acted_on_without_scripts(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.OPERATOR, java_script_enabled=False).open("/rollouts/spring")
    tab.get_by_text("Stage 2: 50 % of the fleet").wait_for()
    tab.get_by_role("button", name="Pause").click()
    tab.get_by_text("pause by user:olga").wait_for()
    tab.goto("/heads")
    tab.get_by_role("button", name="Compare the two").click()
    tab.get_by_role("heading", name="Head 5 and head 6").wait_for()


def test_on_paper_only_what_is_read_is_left(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.OPERATOR).open("/rollouts/spring")
    tab.emulate_media(media="print")
    assert tab.get_by_text("Stage 1: pump-001").is_visible()
    assert not tab.get_by_role("button", name="Halt", exact=True).is_visible()
    assert not tab.get_by_role("navigation", name="Places").is_visible()
