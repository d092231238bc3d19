"""The inbox: shown by urgency, labelled by keys or plain forms, emptied to nothing, harmless whatever it shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aggregator.access import Role
from aggregator.cli import main
from aggregator.inbox import inbox_page, wanted_view
from aggregator.operations import Operator, command_device
from aggregator.page.drawing import HEIGHT, WIDTH, drawing_of
from aggregator.remote_commands import commands_of
from aggregator.remote_commands.asking import OPEN_MAX
from aggregator.store.rows import (
    ALERTS,
    LABELS_WANTED,
    ROLLOUT_ACTS,
    WANTED_LISTS,
    AlertRow,
    LabelsWantedRow,
    WantedListRow,
)
from headway.wire import IMAGE, SERIES, LabelsWanted, Sketch, WantedLabel
from testbed.shown_inbox import fill_inbox
from tests.api.fleet import NOW_S
from tests.page.fleet import PageFleet

NASTY = "</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture
def busy(fleet: PageFleet) -> PageFleet:
    """Of three devices the first asks about windows; alerts are open, and a rollout waits."""
    fill_inbox(fleet.store, fleet.names, NOW_S)
    return fleet


def ask(fleet: PageFleet, *windows: WantedLabel, classes: tuple[str, ...] = ("idle", "walk")) -> None:
    """The first device asks about other windows."""
    with fleet.store.transaction():
        fleet.store.rows(WANTED_LISTS).put(WantedListRow("pump-1", LabelsWanted(classes, windows).encode(), NOW_S))
        fleet.store.rows(LABELS_WANTED).put(LabelsWantedRow("pump-1", len(windows), windows[0].margin, NOW_S))


def window(name: str, **probabilities: float) -> WantedLabel:
    return WantedLabel(name, NOW_S - 60, "exact", probabilities or {"walk": 0.5, "idle": 0.45})


def said(fleet: PageFleet, device: str = "pump-1") -> list[tuple[str, str]]:
    """Commands to the device: names, and of labels the class."""
    with fleet.store.transaction():
        return [(row.name, row.arguments) for row in commands_of(fleet.store, device)]


def fill_queue(fleet: PageFleet) -> None:
    """The device is away, and no further command can wait for it."""
    with fleet.store.transaction():
        operator = Operator(fleet.store, "local:test", NOW_S)
        for _ in range(OPEN_MAX - len(commands_of(fleet.store, "pump-1"))):
            command_device(operator, "pump-1", "sync-now", {}, 3600.0)


def open_ids(fleet: PageFleet) -> list[str]:
    with fleet.store.transaction():
        return [one.id for one in wanted_view(fleet.store, "pump-1").windows]


def test_everything_that_waits_is_shown_with_what_answers_it(busy: PageFleet) -> None:
    page = busy.browser(Role.OPERATOR).page("/inbox")
    assert "What was this?" in page.text
    for words in ("disk_free 210 MB", "waits for approval: 9 of 10", "certificate expires", "windows to label"):
        assert words in page.text
    assert page.text.index("disk_free 210 MB") < page.text.index("waits for approval") < page.text.index("since_drift")
    assert {"/inbox/label", "/inbox/acknowledge", "/inbox/approve"} <= set(page.forms)
    assert "edge-fleet inbox" in page.text
    only = busy.browser(Role.OPERATOR).page("/inbox?kind=drift")
    assert "since_drift" in only.text
    assert "disk_free" not in only.text


def test_who_only_looks_sees_the_windows_and_no_form(busy: PageFleet) -> None:
    page = busy.browser(Role.VIEWER).page("/inbox")
    assert "What was this?" in page.text
    assert not [form for form in page.forms if form.startswith("/inbox")]
    fields = {"device": "pump-1", "window": "w1", "act": "skip"}
    assert busy.browser(Role.VIEWER).post("/inbox/label", fields, "/").status_code == 403
    assert busy.browser(Role.SHARE).get("/inbox").status_code == 403
    assert busy.browser().get("/inbox").status_code == 303


def test_without_scripts_a_window_after_the_other_is_labelled_and_the_last_taken_back(fleet: PageFleet) -> None:
    ask(fleet, window("w1"), window("w2", walk=0.6, idle=0.4))
    browser = fleet.browser(Role.OPERATOR)
    page = browser.page("/inbox")
    fields = {"device": "pump-1", "window": page.hidden["window"], "class": "walk", "once": page.hidden["once"]}
    answer = browser.post("/inbox/label", fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/inbox?device=pump-1&last=pump-1")
    assert browser.post("/inbox/label", fields).status_code == 303, "the same form again is done once"
    assert said(fleet) == [("label", '{"class":"walk","window":"w1"}')]
    page = browser.page(answer.headers["location"])
    assert "w1 of pump-1 is walk, on its way to the device by olga" in page.text
    assert page.hidden["window"] == "w2"
    browser.post("/inbox/label", {"device": "pump-1", "window": "w2", "act": "none"})
    page = browser.page("/inbox?last=pump-1")
    assert "No label is wanted" in page.text
    answer = browser.post("/inbox/label", {"device": "pump-1", "window": "w2", "act": "undo"})
    assert answer.headers["location"] == "/inbox?device=pump-1&window=w2&last=pump-1"
    assert open_ids(fleet) == ["w2"]


def test_a_part_that_scripts_ask_for_is_the_next_window_or_the_reason(fleet: PageFleet) -> None:
    ask(fleet, window("w1"), window("w2", walk=0.6, idle=0.4))
    browser = fleet.browser(Role.OPERATOR)
    answer = browser.post("/inbox/label", {"device": "pump-1", "window": "w1", "class": "idle"}, HX_Request="true")
    assert answer.status_code == 200
    assert answer.text.lstrip().startswith('<section id="window"')
    assert 'value="w2"' in answer.text
    refused = browser.post("/inbox/label", {"device": "pump-9", "window": "w1", "class": "idle"}, HX_Request="true")
    assert refused.status_code == 404
    assert "no device &#39;pump-9&#39;" in refused.text
    assert refused.text.startswith('<p class="problem"')
    bad = browser.post("/inbox/label", {"device": "pump-1", "window": "w1", "act": "dance"}, HX_Request="true")
    assert bad.status_code == 400


def test_alerts_and_rollouts_are_answered_and_leave(busy: PageFleet) -> None:
    browser = busy.browser(Role.OPERATOR)
    answer = browser.post("/inbox/acknowledge", {"number": "4", "kind": "drift"})
    assert answer.headers["location"] == "/inbox?kind=drift&said=acknowledged"
    assert "since_drift" not in browser.page("/inbox").text, "at once, before the service has noted it"
    assert "Acknowledged." in browser.page("/inbox?said=acknowledged").text
    assert browser.post("/inbox/acknowledge", {"number": "99"}).status_code == 404
    assert browser.post("/inbox/acknowledge", {"number": "x"}).status_code == 400
    assert browser.post("/inbox/approve", {"rollout": "autumn"}).headers["location"] == "/inbox?said=approved"
    with busy.store.transaction():
        assert [row.act for row in busy.store.rows(ROLLOUT_ACTS).all()] == ["approve"]


def test_the_inbox_can_be_emptied_to_nothing(busy: PageFleet) -> None:
    browser = busy.browser(Role.OPERATOR)
    while open_ids(busy):
        page = browser.page("/inbox?device=pump-1")
        browser.post("/inbox/label", {"device": "pump-1", "window": page.hidden["window"], "act": "skip"})
    for number in range(1, 6):
        browser.post("/inbox/acknowledge", {"number": str(number)})
    with busy.store.transaction():
        left = inbox_page(busy.store, "", "", 10, NOW_S).items
    assert [item.kind for item in left] == ["rollout"], "which is decided by what the service does with it"
    page = busy.browser(Role.OPERATOR).page("/inbox?kind=alert")
    assert "Nothing of this kind" in page.text
    assert "No label is wanted" in page.text


def test_names_from_devices_are_harmless(fleet: PageFleet) -> None:
    evil = replace(window(NASTY[:120], **{NASTY: 0.5, "walk": 0.4}), served_by=NASTY)
    ask(fleet, evil, classes=(NASTY, "walk"))
    with fleet.store.transaction():
        fleet.store.rows(ALERTS).put(
            AlertRow(1, "disk", NASTY, "info", "open", NASTY, 1.0, 1.0, 0.0, 0.0, True, "", "", 0.0)
        )
    browser = fleet.browser(Role.OPERATOR)
    answer = browser.get("/inbox")
    assert "<img src=x" not in answer.text
    assert "onerror=alert(1)&gt;" in answer.text
    posted = browser.post("/inbox/label", {"device": "pump-1", "window": NASTY[:120], "class": NASTY})
    assert posted.status_code == 303
    assert "<img src=x" not in browser.get(posted.headers["location"]).text


@pytest.mark.parametrize("at_s", [1.7e308, 1e18, 1e-300])
def test_a_device_with_a_clock_of_its_own_breaks_no_page_and_no_command(
    at_s: float, fleet: PageFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(fleet, replace(window("w1"), at_s=at_s))
    browser = fleet.browser(Role.OPERATOR)
    for path in ("/inbox", "/inbox?device=pump-1&window=w1", "/devices/pump-1"):
        assert browser.get(path).status_code == 200, path
    assert main(["inbox", "--device", "pump-1", "--state-dir", str(fleet.folder)]) == 0
    assert "w1" in capsys.readouterr().out


def test_classes_keep_their_keys_and_beyond_nine_the_probable_ones_have_some(fleet: PageFleet) -> None:
    many = tuple(f"class-{number}" for number in range(12))
    ask(fleet, window("w1", **{"class-11": 0.6, "class-3": 0.3}), classes=many)
    text = fleet.browser(Role.OPERATOR).get("/inbox").text
    keys = dict(re.findall(r'value="(class-\d+)" class="choice[^"]*" data-key="(\d)"', text))
    assert len(keys) == 9
    assert keys["class-11"] == "9", "in the device's order"
    assert "class-3" in keys
    assert text.count('<option value="class-') == 3


def test_a_page_that_asks_for_the_window_at_hand_keeps_it(fleet: PageFleet) -> None:
    ask(fleet, window("w1"), window("w2", walk=0.6, idle=0.4))
    browser = fleet.browser(Role.VIEWER)
    for path in ("/inbox?device=pump-1&window=w2", "/inbox/window?device=pump-1&window=w2"):
        assert re.search(r"<dt>Window</dt><dd[^>]*>w2<", browser.get(path).text)
    gone = browser.get("/inbox/window?device=pump-1&window=w9").text
    assert re.search(r"<dt>Window</dt><dd[^>]*>w1<", gone), "somebody else labelled it"
    assert browser.get("/inbox?device=../../etc").status_code == 200
    assert browser.get("/inbox?kind=cake").status_code == 422
    assert browser.get("/inbox?after=nonsense").status_code == 422


def test_a_series_is_drawn_with_gaps_where_values_are_missing() -> None:
    drawing = drawing_of(Sketch(SERIES, -1.0, 1.0, (bytes([1, 255, 0, 128]), bytes([0, 7, 0, 0]))))
    first, second = drawing.outlines
    assert first.path == f"M0.0 {HEIGHT - 6:.1f}L{WIDTH / 3:.1f} 6.0M{WIDTH:.1f} {first.path.split()[-1]}"
    assert first.path.endswith("h2")
    assert second.path.count("M") == 1
    assert drawing.words == "Sketch of the signal, 2 channels, 4 points, from -1 to 1"


def test_an_image_is_drawn_as_squares_by_brightness() -> None:
    drawing = drawing_of(Sketch(IMAGE, 0.0, 1.0, (bytes([1, 255]), bytes([0, 128]))))
    assert (drawing.width, drawing.height) == (20, 20)
    assert {outline.kind: outline.path for outline in drawing.outlines} == {
        "missing": "M0 10h10v10h-10z", "shade-0": "M0 0h10v10h-10z", "shade-11": "M10 0h10v10h-10z",
        "shade-5": "M10 10h10v10h-10z",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.browser
def test_by_keys_in_chromium_and_by_mouse_without_scripts(
    fleet: PageFleet, serve: Callable[[PageFleet], str], chromium: Any
) -> None:
    ask(fleet, *(replace(window(f"w{number}"), sketch=Sketch(SERIES, 0.0, 1.0, (bytes(range(1, 99)),)))
                 for number in range(6)))  # fmt: skip
    url = serve(fleet)
    cookie = {"name": "headway-plant-session", "value": fleet.session(Role.OPERATOR), "url": url}
    context = chromium.new_context()
    context.add_cookies([cookie])
    page, problems = context.new_page(), list[str]()
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"{url}/inbox")
    assert page.locator("#window path").count() == 1

    def press(key: str) -> None:
        with page.expect_response("**/inbox/label"):
            page.keyboard.press(key)
        page.wait_for_selector("#window:not([aria-busy])")

    press("2")
    page.wait_for_selector("text=w0 of pump-1 is walk")
    assert page.evaluate("document.activeElement.id") == "window-title", "who listens hears the next question"
    press("0")
    press("s")
    assert open_ids(fleet) == ["w3", "w4", "w5"]
    press("u")
    assert open_ids(fleet) == ["w2", "w3", "w4", "w5"]
    assert page.locator("#window input[name=window]").first.get_attribute("value") == "w2"
    page.keyboard.press("9")
    assert open_ids(fleet) == ["w2", "w3", "w4", "w5"], "no class has this key"

    # refused, or nobody answers: the window stays, and the reason is said
    fill_queue(fleet)
    press("1")
    page.wait_for_selector(".last.problem >> text=128 commands wait for pump-1")
    page.route("**/inbox/label", lambda route: route.abort())
    page.keyboard.press("1")
    page.wait_for_selector(".last.problem >> text=The server does not answer")
    assert open_ids(fleet) == ["w2", "w3", "w4", "w5"]
    context.close()
    assert [text for text in problems if "Failed to load resource" not in text] == [], (
        "no fault of ours, no broken rule"
    )

    plain = chromium.new_context(java_script_enabled=False)
    plain.add_cookies([cookie])
    page = plain.new_page()
    page.goto(f"{url}/inbox")
    page.click("button:has-text('Skip')")
    assert page.url.endswith("/inbox?device=pump-1&last=pump-1")
    assert "w2 of pump-1 is skipped" in page.locator("[data-said]").inner_text()
    plain.close()
