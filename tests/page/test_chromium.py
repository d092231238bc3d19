"""The page in a real browser: live, by keyboard, on a phone, over bad lines, without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from aggregator.access import Role
from aggregator.page.fleet.numbers import counted
from aggregator.store.rows import DEVICE_COMMANDS
from headway.ports import SystemClock
from testbed.broker import free_port
from testbed.shown_inbox import fill_inbox
from tests.page.axe import violations
from tests.page.conftest import Visit, serving
from tests.page.fleet import PASSWORD, PageFleet
from tests.page.hostile import hostile_fleet
from tests.page.test_markup import PATHS

pytestmark = pytest.mark.browser
Visiting = Callable[..., Visit]
Serving = Callable[[PageFleet], str]
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
slow = pytest.mark.slow


@pytest.fixture
def running(tmp_path: Path) -> PageFleet:
    """With the clock of the machine, as news need one that goes."""
    fleet = PageFleet(tmp_path, 60)
    return replace_clock(fleet)


def replace_clock(fleet: PageFleet) -> PageFleet:
    clock = fleet.clock
    real = SystemClock()
    began_s = real.monotonic_s()
    clock.follow(lambda: real.monotonic_s() - began_s)
    return fleet


def change(fleet: PageFleet, device: str, **values: object) -> None:
    with fleet.store.transaction():
        row = fleet.store.registry.get(device)
        assert row is not None
        fleet.store.registry.put([replace(row, **values)])  # type: ignore[arg-type]


def attention(tab: Any, fleet: PageFleet) -> Any:
    """The number of devices that need attention, once it is the present one."""
    with fleet.store.transaction():
        count = counted(fleet.store, fleet.clock.wall_s()).numbers["attention"]
    return tab.locator('[data-number="attention"]', has_text=re.compile(f"^{count}$"))


def test_somebody_logs_in_looks_at_a_device_asks_something_of_it_and_logs_out(
    running: PageFleet, serve: Serving, visit: Visiting
) -> None:
    tab = visit(running, serve(running), None).open("/devices/pump-001")
    tab.get_by_label("Name").fill("olga")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_role("button", name="Log in").click()
    tab.get_by_role("heading", name="pump-001").wait_for()
    tab.locator(".u-over").wait_for()  # the chart is drawn
    tab.get_by_role("button", name="Sync now").click()
    tab.get_by_text("Asked. The device does it when it is connected").wait_for()
    with running.store.transaction():
        assert "sync-now" in [row.name for row in running.store.rows(DEVICE_COMMANDS).where(state="asked")]
    tab.locator("details.menu > summary").click()
    tab.get_by_role("button", name="Log out", exact=True).click()
    tab.get_by_role("heading", name="Log in").wait_for()
    tab.go_back()
    tab.get_by_role("heading", name="Log in").wait_for()


def test_numbers_and_the_list_change_while_the_page_is_open_in_two_tabs(
    running: PageFleet, serve: Serving, visit: Visiting
) -> None:
    person = visit(running, serve(running), Role.VIEWER)
    tabs = [person.open("/?sort=device"), person.open("/?filter=" + quote('device == "pump-001"'))]
    tabs[0].bring_to_front()
    tabs[0].get_by_text("Live", exact=True).wait_for()
    change(running, "pump-001", health="problem", problem="the sensor is silent", last_seen_s=running.clock.wall_s())
    change(running, "pump-002", health="problem", problem="the sensor is silent", last_seen_s=running.clock.wall_s())
    attention(tabs[0], running).wait_for()
    tabs[0].locator("#row-pump-001").get_by_text("problem").wait_for()
    tabs[1].bring_to_front()
    tabs[1].locator("#row-pump-001").get_by_text("problem").wait_for()


def test_texts_of_others_do_nothing_in_a_browser(tmp_path: Path, serve: Serving, visit: Visiting) -> None:
    _harmless(hostile_fleet(tmp_path), serve, visit, ("/", "/devices/pump-1", "/inbox?device=pump-1", "/?cells=heads"))


@slow
def test_texts_of_others_do_nothing_in_any_place(tmp_path: Path, serve: Serving, visit: Visiting) -> None:
    _harmless(hostile_fleet(tmp_path), serve, visit, PATHS)


def _harmless(fleet: PageFleet, serve: Serving, visit: Visiting, paths: Sequence[str]) -> None:
    """Each place is loaded, moved over and asked for anew; nothing that others wrote may run, or be asked for."""
    person = visit(fleet, serve(fleet), Role.ADMIN)
    tab = person.open("/")
    for path in paths:
        tab.goto(path)
        for bar in tab.locator("[data-cells]").all()[:2]:
            bar.hover()
        for part in tab.locator("[hx-get]").all()[:3]:
            part.evaluate("part => window.htmx && htmx.trigger(part, 'refresh')")
        assert tab.evaluate("window.pwned") is None, path
    tab.goto("/")
    assert tab.evaluate("window.pwned") is None
    person.complaints[:] = [each for each in person.complaints if not re.search("status of (404|422)", each)]


@slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_nothing_keeps_people_from_reading_it(
    running: PageFleet, serve: Serving, visit: Visiting, scheme: str, options: dict[str, Any]
) -> None:
    fill_inbox(running.store, running.names, running.clock.wall_s())
    address = serve(running)
    person = visit(running, address, Role.OPERATOR, color_scheme=scheme, **options)
    for path in ("/", "/devices/pump-001", "/inbox?device=pump-001", "/nothing"):
        tab = person.open(path)
        assert violations(tab) == [], path
        assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]
        tab.close()
    assert violations(visit(running, address, None, color_scheme=scheme, **options).open("/log-in")) == []
    person.complaints[:] = [each for each in person.complaints if "404" not in each]


@slow
def test_the_keyboard_alone_suffices(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.OPERATOR).open("/")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    tab.keyboard.press("/")
    tab.keyboard.type("labels > 100")
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/?filter=labels*")
    tab.locator("main").focus()
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    second = tab.evaluate("document.activeElement.textContent")
    assert second == tab.locator("[data-row] th a").nth(1).text_content()
    tab.keyboard.press("Enter")
    tab.get_by_role("heading", name=second, exact=True).wait_for()
    tab.keyboard.press("g")
    tab.keyboard.press("f")
    tab.get_by_role("heading", name="Fleet", exact=True).wait_for()


@slow
def test_without_scripts_everything_can_be_read_and_done(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.OPERATOR, java_script_enabled=False).open("/")
    assert tab.locator("[data-row]").count() == 50
    tab.get_by_role("link", name="Next page").click()
    tab.locator("[data-row] a").first.click()
    tab.get_by_text("By day, as a table").click()
    assert tab.locator("details.figures tbody tr").count() > 20
    tab.get_by_role("textbox", name="Note").fill("seen")
    tab.get_by_role("button", name="Keep the note").click()
    tab.get_by_text("The note is kept.").wait_for()


@slow
def test_the_theme_is_chosen_and_stays(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.VIEWER, color_scheme="light").open("/")
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    tab.get_by_role("button", name="Dark or light").click()
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != light
    tab.reload()
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"


@slow
def test_who_only_looks_finds_nothing_to_press(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.VIEWER).open("/devices/pump-001")
    names = [
        button.get_attribute("aria-label") or button.text_content() for button in tab.locator("button:visible").all()
    ]
    assert {name for name in names if name} <= {"Dark or light", "Copy"}


@slow
def test_an_act_is_asked_about_and_can_be_left_alone(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.OPERATOR).open("/devices/pump-001")
    asked: list[str] = []
    tab.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    tab.get_by_role("button", name="Restart").click()
    assert asked == ["Restart the agent on this device?"]
    with running.store.transaction():
        assert running.store.rows(DEVICE_COMMANDS).where(state="asked") == []


@slow
def test_a_page_that_is_open_while_the_server_restarts_goes_on(running: PageFleet, visit: Visiting) -> None:
    port = free_port()
    with serving(running, port) as address:
        person = visit(running, address, Role.VIEWER)
        tab = person.open("/")
        tab.get_by_text("Live", exact=True).wait_for()
    tab.get_by_text("Reconnecting").wait_for()
    with serving(running, port):
        tab.get_by_text("Live", exact=True).wait_for(timeout=30_000)
        change(running, "pump-003", health="problem", problem="x", last_seen_s=running.clock.wall_s())
        attention(tab, running).wait_for()
        tab.close()
    person.complaints[:] = [each for each in person.complaints if "ERR_" not in each]


@slow
def test_over_a_slow_line_the_page_can_be_read_before_everything_is_there(
    running: PageFleet, serve: Serving, visit: Visiting
) -> None:
    person = visit(running, serve(running), Role.VIEWER)
    tab = person.open("/log-in")
    line = person.context.new_cdp_session(tab)
    line.send("Network.enable")
    slow_line = {"offline": False, "latency": 400, "downloadThroughput": 40_000, "uploadThroughput": 20_000}
    line.send("Network.emulateNetworkConditions", slow_line)
    tab.goto("/", wait_until="commit")
    tab.locator("[data-row]").first.wait_for(timeout=30_000)
    tab.get_by_text("Live", exact=True).wait_for(timeout=30_000)


@slow
def test_ten_thousand_devices_are_paged_by_the_server(tmp_path: Path, serve: Serving, visit: Visiting) -> None:
    fleet = replace_clock(PageFleet(tmp_path, 10_000))
    tab = visit(fleet, serve(fleet), Role.VIEWER).open("/")
    assert tab.locator("[data-row]").count() == 50
    assert "10\u202f003" in tab.locator(".pager").text_content()
    for _ in range(3):
        tab.get_by_role("link", name="Next page").click()
    assert tab.locator("[data-row]").count() == 50
    assert tab.evaluate("document.querySelectorAll('*').length") < 4000


@slow
def test_it_prints_without_what_is_only_for_screens(running: PageFleet, serve: Serving, visit: Visiting) -> None:
    tab = visit(running, serve(running), Role.OPERATOR).open("/devices/pump-001")
    tab.emulate_media(media="print")
    assert not tab.locator("header.top").is_visible()
    assert not tab.get_by_role("button", name="Restart").is_visible()
    assert tab.get_by_role("heading", name="Accuracy over time").is_visible()
