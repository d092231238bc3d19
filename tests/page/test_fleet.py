"""The first place: the same numbers as the commands, worst first, filters, pages, saved filters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from aggregator.access import Role
from aggregator.inbox import inbox_page
from aggregator.page.fleet.bars import DAYS_SHOWN, bar_of, date_of
from aggregator.page.fleet.numbers import NUMBERS
from aggregator.registry import Request, list_page
from aggregator.store import RegistryRow
from aggregator.store.rows import GROUPS, HEAD_SPANS, PROPERTIES, TAG, DayRow, HeadSpanRow, PropertyRow
from testbed.shown_inbox import fill_inbox
from tests.api.fleet import DAY_S, NOW_S
from tests.page.fleet import Browser, Page, PageFleet

TODAY = int(NOW_S // DAY_S)


def names_on(page: Page) -> list[str]:
    """Devices of the list, in order."""
    found = [re.fullmatch(r"/devices/([\w.-]+)", link) for link in page.links]
    return [match[1] for match in found if match]


@contextmanager
def changed(fleet: PageFleet, name: str) -> Iterator[dict[str, object]]:
    """Columns that are set in here become those of the device's row."""
    values: dict[str, object] = {}
    yield values
    with fleet.store.transaction():
        row = fleet.store.registry.get(name)
        assert row is not None
        fleet.store.registry.put([replace(row, **values)])  # type: ignore[arg-type]
    fleet.clock.advance(1.0)


def number_of(browser: Browser, key: str) -> int:
    text = browser.get("/").text
    match = re.search(rf'data-number="{key}">([\d\u202f]+)<', text)
    assert match is not None
    return int(match[1].replace("\u202f", ""))


def test_every_number_is_that_of_its_filter_which_its_link_and_its_command_have(shown: PageFleet) -> None:
    browser = shown.browser(Role.VIEWER)
    page = browser.page("/")
    for each in NUMBERS:
        with shown.store.transaction():
            expected = len(list_page(shown.store, Request(each.filter), NOW_S).devices)
        assert number_of(browser, each.key) == expected
        assert f"edge-fleet devices --filter '{each.filter}'" in page.text
        (link,) = [link for tag, found in page.tags if found.get("title") == each.doc for link in [found["href"]]]
        listed = browser.page(link)
        assert (f"{expected} device" in listed.text) == (expected > 0)


def test_every_place_says_how_much_waits_in_the_inbox_and_so_does_the_inbox(fleet: PageFleet) -> None:
    fill_inbox(fleet.store, fleet.names, NOW_S)
    with fleet.store.transaction():
        waiting = inbox_page(fleet.store, "", "", 10, NOW_S)
    count = sum(waiting.counts.values())
    viewer = fleet.browser(Role.VIEWER)
    for path in ("/", "/devices/pump-1", "/inbox", "/heads", "/rollouts", "/settings", "/nothing"):
        assert f"Inbox {count} wait" in Page(viewer.get(path).text).text, path
    assert f"All {count}" in viewer.page("/inbox").text
    # a link that only looks does not reach the inbox, so it is not offered
    assert "/inbox" not in fleet.browser(Role.SHARE).page("/").links


def test_a_number_is_red_only_when_it_is_not_zero(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.VIEWER)

    def states() -> dict[str, str]:
        tags = [found for _, found in browser.page("/").tags if "number alarming" in found.get("class", "")]
        return dict(zip(("below", "drifting", "attention"), (found["data-count"] for found in tags), strict=True))

    assert set(states().values()) == {"none"}
    with changed(fleet, "pump-1") as row:
        row |= {"health": "problem", "problem": "the sensor is silent"}
    with changed(fleet, "pump-2") as row:
        row |= {"scored": 40, "served_accuracy": 0.7, "frozen_accuracy": 0.8, "accuracy_gain": -0.1}
    assert states() == {"below": "some", "drifting": "none", "attention": "some"}


def test_the_worst_device_stands_first_and_pages_follow_one_another(shown: PageFleet) -> None:
    browser = shown.browser(Role.VIEWER)
    first = browser.page("/")
    (following,) = [link for tag, found in first.tags if found.get("rel") == "next" for link in [found["href"]]]
    second = browser.page(following)
    with shown.store.transaction():
        expected = [v.row.device for v in list_page(shown.store, Request(sort="recent_accuracy_gain"), NOW_S).devices]
    assert len(expected) == 63
    assert names_on(first) + names_on(second) == expected
    assert "First page" in second.text


def test_a_filter_stands_in_the_address_and_in_the_command(shown: PageFleet) -> None:
    browser = shown.browser(Role.VIEWER)
    wanted = 'tag.site == "north" and labels > 100'
    page = browser.page(f"/?filter={wanted}&sort=-labels")
    with shown.store.transaction():
        expected = [view.row.device for view in list_page(shown.store, Request(wanted, "-labels"), NOW_S).devices]
    assert expected
    assert names_on(page) == expected
    assert f"edge-fleet devices --filter '{wanted}' --sort -labels --limit 50" in page.text


def test_a_filter_that_cannot_be_read_says_where(fleet: PageFleet) -> None:
    answer = fleet.browser(Role.VIEWER).get("/?filter=labls > 5 and")
    page = Page(answer.text)
    assert answer.status_code == 422
    assert "labels" in page.text
    assert ("input", "true") in [(tag, found.get("aria-invalid", "")) for tag, found in page.tags]
    assert fleet.browser(Role.VIEWER).get("/?after=nonsense").status_code == 422
    assert fleet.browser(Role.VIEWER).get("/?sort=colour").status_code == 422


def test_operators_save_filters_under_names_and_delete_them(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.OPERATOR)
    saved = browser.post("/fleet/filters", {"name": "quiet", "filter": "labels < 5"}, "/?filter=labels < 5")
    assert saved.headers["location"] == "/?filter=group+%3D%3D+%22quiet%22&said=saved"
    page = browser.page(saved.headers["location"])
    assert len(names_on(page)) == 3
    assert "Saved." in page.text
    assert "Delete this filter" in page.text
    assert browser.post("/fleet/filters", {"name": "no good", "filter": "labels < 5"}).status_code == 422
    assert browser.post("/fleet/filters", {"name": "worse", "filter": "labls < 5"}).status_code == 422
    assert browser.post("/fleet/filters/delete", {"name": "quiet"}).status_code == 303
    with fleet.store.transaction():
        assert fleet.store.rows(GROUPS).count() == 0


def test_who_only_looks_sees_no_form_and_is_refused(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.VIEWER)
    page = browser.page("/?filter=labels < 5")
    assert [form for form in page.forms if form not in ("/", "/log-out", "/log-out/everywhere")] == []
    refused = browser.post("/fleet/filters", {"name": "quiet", "filter": "labels < 5"})
    assert (refused.status_code, "needs the role operator" in refused.text) == (403, True)


def test_a_bar_has_a_cell_for_each_day_and_says_in_words_what_it_shows() -> None:
    row = RegistryRow(
        "a", 0.0, 0.0, served_accuracy=0.9, day=TODAY, day_labels=4, day_served_right=3, day_frozen_right=4
    )
    days = [DayRow("a", TODAY - 3, 10, 9, 8, 100), DayRow("a", TODAY - 2, 0, 0, 0, 100)]
    bar = bar_of(row, days, TODAY)
    assert len(bar.cells) == DAYS_SHOWN
    assert [cell.level for cell in bar.cells[-4:]] == ["gain-3", "nothing", "nothing", "loss-3"]
    assert bar.words == "0.0 points against the frozen head over 2 days with labels, worst −25.0 on 2026-09-21"
    assert bar.told.split(",")[-4:] == ["+10.0/10", "", "", "−25.0/4"]
    assert bar_of(RegistryRow("b", 0.0, 0.0), [], TODAY).words == "no labels in the last 30 days"


def test_a_bar_has_a_cell_for_each_head_where_that_is_asked_for(fleet: PageFleet) -> None:
    with fleet.store.transaction():
        fleet.store.rows(HEAD_SPANS).put_all([
            HeadSpanRow("pump-1", 1, "frozen", NOW_S - 9 * DAY_S, 20, 15, 15),
            HeadSpanRow("pump-1", 2, "exact", NOW_S - 3 * DAY_S, 50, 46, 40),
        ])  # fmt: skip
    page = fleet.browser(Role.VIEWER).page("/?cells=heads&sort=device")
    cells = [found["data-cells"] for _, found in page.tags if "data-cells" in found]
    assert [text.split("\n") for text in cells[:1]] == [
        [f"0.0/20/frozen from {date_of(TODAY - 9)}", f"+12.0/50/exact from {date_of(TODAY - 3)}"]
    ]
    assert cells[1:] == ["", ""]
    refresh = [found["hx-get"] for _, found in page.tags if found.get("id") == "devices"]
    assert refresh == ["/fleet/devices?sort=device&cells=heads"]
    bars = [found["aria-label"] for _, found in page.tags if "data-cells" in found]
    assert bars == [
        "+8.6 points against the frozen head over 2 heads, the newest last",
        *2 * ["no labels under any head"],
    ]
    assert "exact from" in fleet.browser(Role.VIEWER).page("/devices/pump-1").text
    assert fleet.browser(Role.VIEWER).get("/?cells=weeks").status_code == 422


def test_an_empty_fleet_and_an_empty_list_say_what_to_do(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.VIEWER)
    assert "Nothing meets the filter now." in browser.page("/?filter=labels > 1000").text
    with fleet.store.transaction():
        for name in fleet.names:
            fleet.store.remove_device(name)
    fleet.clock.advance(1.0)
    assert "A device appears here with its first message." in browser.page("/").text


def test_tags_of_many_devices_are_shown(shown: PageFleet) -> None:
    with shown.store.transaction():
        shown.store.rows(PROPERTIES).put(PropertyRow("pump-001", TAG, "owner", "ada"))
    assert "owner=ada" in shown.browser(Role.VIEWER).page('/?filter=device == "pump-001"').text


def test_the_list_alone_is_what_open_pages_ask_for(shown: PageFleet) -> None:
    browser = shown.browser(Role.VIEWER)
    part = browser.get("/fleet/devices?sort=device", HX_Request="true")
    assert part.status_code == 200
    assert "<html" not in part.text
    assert names_on(Page(part.text)) == names_on(browser.page("/?sort=device"))
