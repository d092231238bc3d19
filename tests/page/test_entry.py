"""Log-in, log-out, links, proxies: who gets into the page, and what keeps others out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.access import ApiSettings, Role
from aggregator.operations import Operator, create_token, remove_user
from aggregator.page.entry import own_path
from aggregator.store.rows import DONE_ACTS, TOKENS
from tests.api.fleet import DAY_S, NOW_S, UNBOUNDED
from tests.page.fleet import PASSWORD, PageFleet


def session_of(browser: object) -> str:
    return str(browser.client.cookies["headway-plant-session"])  # type: ignore[attr-defined]


def test_who_is_not_known_is_sent_to_the_log_in_and_comes_back_to_where_they_wanted(fleet: PageFleet) -> None:
    browser = fleet.browser()
    sent = browser.get("/?filter=labels > 5")
    assert sent.status_code == 303
    assert sent.headers["location"] == "/log-in?next=%2F%3Ffilter%3Dlabels%2520%253E%25205"
    entered = browser.post("/log-in", {"name": "olga", "password": PASSWORD, "next": "/?filter=labels"}, "/log-in")
    assert (entered.status_code, entered.headers["location"]) == (303, "/?filter=labels")
    assert "pump-1" in browser.page("/").text


def test_a_session_is_a_token_of_which_a_digest_is_kept_and_log_out_ends_it(fleet: PageFleet) -> None:
    browser = fleet.browser()
    browser.log_in("olga")
    token = session_of(browser)
    with fleet.store.transaction():
        (row,) = [row for row in fleet.store.rows(TOKENS).where(user="olga") if row.label == "page"]
        assert token not in repr([*fleet.store.rows(TOKENS).all(), *fleet.store.rows(DONE_ACTS).all()])
    assert (row.role, row.expires_s - row.created_s) == ("operator", 43_200.0)
    stolen = fleet.browser()
    stolen.client.cookies.set("headway-plant-session", token)
    assert stolen.get("/").status_code == 200
    assert browser.post("/log-out", {}).status_code == 303
    assert stolen.get("/").status_code == 303
    assert browser.get("/").status_code == 303


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(fleet: PageFleet) -> None:
    browser = fleet.browser()
    cookie = browser.log_in("olga").headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age" not in cookie.split("headway-plant-visit")[0]
    kept = fleet.browser().log_in("olga", keep="yes").headers["set-cookie"]
    assert f"Max-Age={30 * 86_400}" in kept


def test_a_session_ends_after_twelve_hours_and_with_its_user(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.VIEWER)
    fleet.clock.advance(43_199.0)
    assert browser.get("/").status_code == 200
    fleet.clock.advance(1.0)
    over = browser.get("/")
    assert (over.status_code, "over=1" in over.headers["location"]) == (303, True)
    assert "Your session is over" in browser.page("/log-in?over=1").text
    again = fleet.browser(Role.VIEWER)
    with fleet.store.transaction():
        remove_user(Operator(fleet.store, "local:test", NOW_S), "vera")
    assert again.get("/").status_code == 303


def test_a_part_of_a_page_whose_session_is_over_takes_the_whole_page_to_the_log_in(fleet: PageFleet) -> None:
    part = fleet.browser().get("/fleet/devices", HX_Request="true")
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/log-in?over=1")


def test_behind_tls_the_cookie_is_bound_to_this_host_and_to_tls(tmp_path: Path) -> None:
    fleet = PageFleet(tmp_path, api=replace(UNBOUNDED, trusted_proxies=("10.0.0.0/8",)))
    browser = fleet.browser(address="10.0.0.3")
    cookie = browser.get("/log-in").headers["set-cookie"]
    assert cookie.startswith("__Host-headway-plant-visit=")
    assert "Secure" in cookie
    plain = fleet.browser(address="10.0.0.3").get("/log-in", X_Forwarded_Proto="http").headers["set-cookie"]
    assert "Secure" not in plain
    assert (
        "Secure"
        not in fleet.browser(address="192.0.2.7").get("/log-in", X_Forwarded_Proto="https").headers["set-cookie"]
    )


def test_a_wrong_password_says_so_and_guesses_are_bounded_as_the_api_bounds_them(tmp_path: Path) -> None:
    fleet = PageFleet(tmp_path, api=replace(UNBOUNDED, logins_per_address_minute=2))
    web = fleet.web()
    browser = fleet.browser(web=web)
    for name in ("olga", "nobody"):
        wrong = browser.log_in(name, "not the password")
        assert (wrong.status_code, "Name or password is wrong." in wrong.text) == (401, True)
    late = browser.log_in("olga")
    assert (late.status_code, "Wait a minute" in late.text) == (429, True)
    assert browser.client.post("/v1/login", auth=("olga", PASSWORD)).status_code == 429
    fleet.clock.advance(60.0)
    assert browser.log_in("olga").status_code == 303


def test_a_fleet_without_users_says_how_the_first_one_is_made(fleet: PageFleet) -> None:
    assert "There is no user yet" not in fleet.browser().page("/log-in").text
    with fleet.store.transaction():
        for name in ("sharer", "vera", "olga", "ada"):
            remove_user(Operator(fleet.store, "local:test", NOW_S), name)
    text = fleet.browser().page("/log-in").text
    assert "There is no user yet" in text
    assert "edge-fleet users add NAME --role admin --password" in text


def test_forms_of_other_sites_and_of_other_sessions_do_nothing(fleet: PageFleet) -> None:
    olga, vera = fleet.browser(Role.OPERATOR), fleet.browser(Role.VIEWER)
    fields = {"name": "mine", "filter": "labels > 5"}
    assert olga.post("/fleet/filters", fields, None).status_code == 403
    assert olga.post("/fleet/filters", {**fields, "csrf": vera.page("/").hidden["csrf"]}, None).status_code == 403
    assert olga.post("/fleet/filters", fields, Sec_Fetch_Site="cross-site").status_code == 403
    assert olga.post("/fleet/filters", fields).status_code == 303
    assert fleet.browser().log_in("olga", csrf="guessed").status_code == 403
    unknown = fleet.browser()
    refused = unknown.post("/log-in", {"name": "olga", "password": PASSWORD}, None)
    assert (refused.status_code, "did not send our cookie" in refused.text) == (400, True)


def test_the_token_of_a_form_may_come_in_a_header(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.OPERATOR)
    given = {"X_CSRF_Token": browser.page("/").hidden["csrf"]}
    assert browser.post("/fleet/filters", {"name": "a", "filter": "labels > 5"}, None, **given).status_code == 303


def test_a_share_link_looks_without_a_name_and_leaves_no_token_in_the_address(fleet: PageFleet) -> None:
    with fleet.store.transaction():
        operator = Operator(fleet.store, "local:test", NOW_S)
        token = create_token(operator, "vera", "for the wall", Role.SHARE, 30 * DAY_S).token
    browser = fleet.browser()
    opened = browser.get(f"/?filter=labels&share={token}")
    assert (opened.status_code, opened.headers["location"]) == (303, "/?filter=labels")
    page = browser.page("/")
    assert "share of vera" in page.text
    assert "/fleet/filters" not in page.forms
    assert browser.post("/fleet/filters", {"name": "a", "filter": "labels > 5"}).status_code == 403
    assert browser.post("/log-out", {}).status_code == 303
    other = fleet.browser()
    assert other.get(f"/?share={token}").status_code == 303  # others still have the link
    assert "over or was taken back" in fleet.browser().get("/?share=hwt_guess").text
    # what may more must not stand in addresses, which are logged and passed on
    assert fleet.browser().get(f"/?share={fleet.base.tokens[Role.ADMIN]}").status_code == 401


def test_whom_a_trusted_proxy_names_needs_no_password_and_its_forms_have_tokens(tmp_path: Path) -> None:
    fleet = PageFleet(tmp_path, api=replace(UNBOUNDED, trusted_proxies=("10.0.0.0/8",)))
    browser = fleet.browser(address="10.0.0.3")
    browser.client.headers.update({"X-Forwarded-User": "olga", "X-Forwarded-Proto": "http"})
    page = browser.page("/")
    assert "olga" in page.text
    assert "/log-out" not in page.forms
    form_of = "/?filter=labels > 5"
    assert browser.post("/fleet/filters", {"name": "a", "filter": "labels > 5"}, form_of).status_code == 303
    assert browser.post("/fleet/filters", {"name": "b", "filter": "labels > 5"}, None).status_code == 403
    stranger = fleet.browser(address="192.0.2.7")
    assert stranger.get("/", X_Forwarded_User="olga").status_code == 303


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/devices/a?b=c", "/devices/a?b=c"), ("//evil.example", "/"), ("https://evil.example", "/"), ("/\\evil", "/"),
        ("javascript:alert(1)", "/"), ("", "/"), ("/log-out", "/"), ("/a\nb", "/"),
    ],
)  # fmt: skip
def test_after_the_log_in_only_our_own_paths_follow(wanted: str, path: str) -> None:
    assert own_path(wanted) == path


def test_every_answer_forbids_frames_scripts_of_others_and_guessing_of_types(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.ADMIN)
    for path in ("/", "/log-in", "/nothing", "/static/0/none.js", "/fleet/devices", "/?filter=x"):
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert headers["cache-control"] == "no-store" or path.startswith("/static")


def test_what_goes_wrong_is_told_in_plain_words(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.VIEWER)
    missing = browser.get("/nothing")
    assert (missing.status_code, "There is nothing at this address." in missing.text) == (404, True)
    assert "text/html" in missing.headers["content-type"]
    assert browser.get("/v1/nothing").headers["content-type"] == "application/problem+json"
    bad = browser.get("/?filter=labls > 5")
    assert (bad.status_code, "labels" in bad.text) == (422, True)


def test_too_many_requests_are_refused_with_a_page(tmp_path: Path) -> None:
    fleet = PageFleet(tmp_path, api=ApiSettings(requests_per_address_minute=2))
    browser = fleet.browser()
    assert [browser.get("/log-in").status_code for _ in range(3)] == [200, 200, 429]
    assert "<h1>Too often</h1>" in browser.get("/log-in").text
