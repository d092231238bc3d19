"""Every act and every place of the page, as the application itself lists them: who may, and that nobody else can.

A new route that is not named here fails these tests: somebody has to say who it is for.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aggregator.access import Role
from aggregator.audit import COUNT
from aggregator.operations import Operator, create_token
from aggregator.web import Web
from benchmarks.page_latency import ASKED
from tests.api.fleet import NOW_S
from tests.page.fleet import Browser, Page, PageFleet

ROLES = (Role.SHARE, Role.VIEWER, Role.OPERATOR, Role.ADMIN)
# the least role of each act; of the two that open and end sessions tests are in test_entry.py
ACTS = {
    "/log-out/everywhere": Role.VIEWER,
    "/settings/tokens": Role.VIEWER,
    "/settings/tokens/revoke": Role.VIEWER,
    "/settings/users": Role.ADMIN,
    "/settings/users/remove": Role.ADMIN,
    **dict.fromkeys(
        (
            "/devices/{device}/commands", "/devices/{device}/forget", "/devices/{device}/note",
            "/devices/{device}/quarantine", "/devices/{device}/readmit", "/devices/{device}/remove",
            "/devices/{device}/settings",
            "/devices/{device}/tags", "/fleet/filters", "/fleet/filters/delete", "/heads/bundles/delete",
            "/heads/bundles/order", "/heads/forget", "/heads/hold", "/heads/let-go", "/inbox/acknowledge",
            "/inbox/approve", "/inbox/label", "/rollouts/new", "/rollouts/{name}/acts",
            "/settings/alerts/acknowledge", "/settings/groups/delete", "/settings/groups/filter",
            "/settings/groups/list", "/settings/join", "/settings/rules", "/settings/rules/remove",
            "/settings/silences", "/settings/silences/end",
        ),
        Role.OPERATOR,
    ),
}  # fmt: skip
PLACES = {
    **dict.fromkeys(
        (
            "/", "/devices/{device}", "/devices/{device}/parts/states", "/fleet/devices", "/heads", "/heads/compare",
            "/heads/list", "/live", "/rollouts", "/rollouts/{name}", "/rollouts/{name}/now", "/settings/groups",
        ),
        Role.SHARE,
    ),
    **dict.fromkeys(
        (
            "/devices/{device}/diagnostics/{command}", "/devices/{device}/parts/{part}", "/heads/forget", "/inbox",
            "/inbox/items", "/inbox/window", "/rollouts/new", "/settings", "/settings/alerts", "/settings/alerts/open",
            "/settings/audit", "/settings/join",
        ),
        Role.VIEWER,
    ),
}  # fmt: skip
FREE = {"/log-in", "/log-out", "/static/{tag}/{name:path}"}


def path_of(route: str) -> str:
    filled = {"device": "pump-1", "name": "spring", "command": "ab12", "part": "windows"}
    return re.sub(r"{(\w+)}", lambda found: filled[found[1]], route)


def routes(fleet: PageFleet, method: str) -> set[str]:
    application = fleet.web().page.application
    return {route.path for route in application.routes if method in (route.methods or ())} - FREE  # type: ignore[attr-defined]


def acted(fleet: PageFleet) -> int:
    """Entries of the audit log, which every act makes."""
    with fleet.store.reading():
        return fleet.store.number(COUNT)


class Watched(PageFleet):
    """One application for every browser: a test has hundreds of them."""

    def web(self) -> Web:
        if self._web is None:
            self._web = super().web()
        return self._web

    _web: Web | None = None


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> PageFleet:
    return Watched(tmp_path_factory.mktemp("fleet"))


def test_somebody_has_said_of_every_route_who_it_is_for(watched: PageFleet) -> None:
    assert routes(watched, "POST") == set(ACTS)
    assert routes(watched, "GET") == set(PLACES)


def test_the_benchmark_asks_for_every_place() -> None:
    asked = {re.sub(r"parts/(?!states)\w+", "parts/{part}", path.partition("?")[0]) for path in ASKED.values()}
    asked = {re.sub("rollouts/(?!new)\\w+", "rollouts/{name}", path) for path in asked}
    assert set(PLACES) - asked == {"/live", "/devices/{device}/diagnostics/{command}"}
    assert asked <= set(PLACES)


@pytest.mark.parametrize("role", ROLES)
def test_an_act_is_refused_to_roles_below_its_own_whatever_the_form_says(watched: PageFleet, role: Role) -> None:
    browser = watched.browser(role)
    token = csrf_of(browser)
    for route, least in ACTS.items():
        if route == "/log-out/everywhere":
            continue  # it ends the session; a test of its own is below
        before = acted(watched)
        answer = browser.post(path_of(route), {"name": "pump-1", "csrf": token}, None)
        if role.may(least):
            assert answer.status_code != 403, route
        else:
            assert (answer.status_code, acted(watched)) == (403, before), route


@pytest.mark.parametrize("role", [*ROLES, None])
def test_a_place_is_shown_to_its_role_and_above(watched: PageFleet, role: Role | None) -> None:
    browser = watched.browser(role)
    for route, least in PLACES.items():
        if route == "/live":
            continue  # a stream without end; test_live.py
        answer = browser.get(path_of(route))
        if role is None:
            assert (answer.status_code, answer.headers["location"][:8]) == (303, "/log-in?"), route
        elif role.may(least):
            assert answer.status_code in (200, 404, 422), route  # 404, 422: there is no such rollout, head or file
        else:
            assert answer.status_code == 403, route


def csrf_of(browser: Browser) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', browser.get("/").text)
    assert found is not None
    return found[1]


def test_no_act_is_done_without_the_token_of_the_very_session_or_for_another_site(watched: PageFleet) -> None:
    browser, other = watched.browser(Role.ADMIN), watched.browser(Role.ADMIN)
    own, foreign = csrf_of(browser), csrf_of(other)
    assert own != foreign
    before = acted(watched)
    for route in sorted(ACTS):
        path = path_of(route)
        for given in ({}, {"csrf": ""}, {"csrf": foreign}, {"csrf": own[:-1]}):
            assert browser.post(path, {"name": "pump-1", **given}, None).status_code == 403, (route, given)
        for site in ("cross-site", "same-site"):
            crossed = browser.post(path, {"csrf": own}, None, Sec_Fetch_Site=site)
            assert crossed.status_code == 403, route
        sent = browser.client.post(path, json={"csrf": own}, follow_redirects=False)
        assert sent.status_code == 415, route
        assert browser.client.get(path, follow_redirects=False).status_code in (200, 403, 404, 405, 422), route
    assert acted(watched) == before


def test_a_session_that_somebody_put_into_the_browser_is_not_the_one_that_is_logged_in(tmp_path: Path) -> None:
    fleet = PageFleet(tmp_path)
    planted = "hwt_" + "a" * 43
    browser = fleet.browser()
    browser.client.cookies.set("headway-plant-session", planted)
    browser.client.cookies.set("headway-plant-visit", "v" * 43)
    assert browser.log_in("olga").status_code == 303
    session = {cookie.name: cookie.value for cookie in browser.client.cookies.jar}["headway-plant-session"]
    assert session not in (planted, "")
    attacker = fleet.browser()
    attacker.client.cookies.set("headway-plant-session", planted)
    attacker.client.cookies.set("headway-plant-visit", "v" * 43)
    assert attacker.get("/").status_code == 303
    # what the attacker knows of the visit makes no form of the session
    form_of_visit = Page(attacker.get("/log-in").text).hidden["csrf"]
    refused = browser.post("/devices/pump-1/note", {"text": "x", "csrf": form_of_visit}, None)
    assert refused.status_code == 403


def test_log_out_everywhere_ends_every_session_of_the_user_and_nothing_else(tmp_path: Path) -> None:
    fleet = PageFleet(tmp_path)
    here, there, other = fleet.browser(Role.OPERATOR), fleet.browser(Role.OPERATOR), fleet.browser(Role.VIEWER)
    with fleet.store.transaction():
        program = create_token(Operator(fleet.store, "local:test", NOW_S), "olga", "script", None, 3600.0).token
    assert [each.get("/").status_code for each in (here, there, other)] == [200, 200, 200]
    link = fleet.browser(Role.SHARE)
    assert link.post("/log-out/everywhere", {"csrf": csrf_of(other)}, None).status_code == 403
    answer = here.post("/log-out/everywhere", {})
    assert (answer.status_code, answer.headers["location"]) == (303, "/log-in")
    assert [each.get("/").status_code for each in (here, there, other)] == [303, 303, 200]
    asked = fleet.browser().client.get("/v1/devices", headers={"Authorization": f"Bearer {program}"})
    assert asked.status_code == 200
