"""The place of a device: what is known of it in words, and what people do with it."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from aggregator.access import Role
from aggregator.audit import entries
from aggregator.inbox import wanted_view
from aggregator.page.device.telling import told
from aggregator.store import EventRow
from aggregator.store.rows import DAYS, DEVICE_COMMANDS, FORGET_REQUESTS, QUARANTINED, WANTED_SETTINGS, DayRow
from headway.maths import ClassificationSums
from headway.wire import Metrics
from testbed.shown_fleet import CLASSES
from testbed.shown_inbox import fill_inbox
from tests.api.fleet import NOW_S
from tests.page.fleet import Page, PageFleet

PUMP = "/devices/pump-001"


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> PageFleet:
    """A fleet that no test changes."""
    return PageFleet(tmp_path_factory.mktemp("fleet"), 20)


@pytest.fixture
def acted_on(tmp_path: Path) -> PageFleet:
    return PageFleet(tmp_path, 3)


def figures(page: Page) -> dict[str, object]:
    (chart,) = [found["data-chart"] for _, found in page.tags if "data-chart" in found]
    return dict(json.loads(chart))


def test_link_health_and_learning_stand_apart_each_with_since_when(looked_at: PageFleet) -> None:
    page = looked_at.browser(Role.VIEWER).page(PUMP)
    with looked_at.store.transaction():
        row = looked_at.store.registry.get("pump-001")
    assert row is not None
    for title, word in (("Link", row.link), ("Health", row.health), ("Learning", row.learning)):
        assert f"{title} {word} " in page.text
    assert len([found for tag, found in page.tags if tag == "time" and "data-ago" in found]) >= 4


def test_the_chart_and_the_table_have_the_days_figures(looked_at: PageFleet) -> None:
    page = looked_at.browser(Role.VIEWER).page(PUMP)
    told_figures = figures(page)
    assert len(told_figures["at"]) == len(told_figures["served"]) == len(told_figures["frozen"])  # type: ignore[arg-type]
    assert "By day, as a table" in page.text
    with looked_at.store.transaction():
        row = looked_at.store.registry.get("pump-001")
    assert row is not None
    assert f"{100 * row.day_served_right / row.day_labels:.1f} %" in page.text if row.day_labels else True
    assert max(told_figures["served"]) <= 100  # type: ignore[call-overload]


def test_the_confusion_matrix_is_that_of_the_metrics_with_the_names_of_the_classes(looked_at: PageFleet) -> None:
    text = looked_at.browser(Role.VIEWER).page(PUMP).text
    with looked_at.store.transaction():
        row = looked_at.store.device("pump-001")
    assert row is not None
    metrics = Metrics.decode(row.metrics, row.class_count)
    for head, sums in (("Served", metrics.served), ("Frozen", metrics.frozen)):
        assert isinstance(sums, ClassificationSums)
        counts = " ".join(str(int(count)) for count in sums.confusion[0])
        beside = f"{head} {100 * sums.accuracy:.1f} % True class {' '.join(CLASSES)} Recall"
        assert f"{beside} normal {counts} {100 * sums.recall[0]:.0f} %" in text


def test_windows_that_it_asks_about_stand_there_with_their_sketch_and_what_was_said(fleet: PageFleet) -> None:
    fill_inbox(fleet.store, ["pump-1"], NOW_S)
    operator = fleet.browser(Role.OPERATOR)
    with fleet.store.transaction():
        windows = wanted_view(fleet.store, "pump-1").windows
    page = operator.page("/devices/pump-1")
    first = windows[0]
    assert f"/inbox?device=pump-1&window={first.id}#window" in page.links
    assert len([found for tag, found in page.tags if found.get("aria-label", "").startswith("Sketch of the")]) >= 1
    assert f"Most like {first.nearest.label} ({first.nearest.id})" in page.text  # type: ignore[union-attr]
    operator.post("/inbox/label", {"device": "pump-1", "window": first.id, "class": "leak"}, "/inbox?device=pump-1")
    said = operator.page("/devices/pump-1/parts/windows").text
    assert f"{first.id}: leak on its way" in said
    assert "by olga" in said
    assert len(windows) == 1 or windows[1].id in said


def test_diagnostics_are_asked_for_and_downloaded(acted_on: PageFleet) -> None:
    operator = acted_on.browser(Role.OPERATOR)
    operator.post("/devices/pump-1/commands", {"command": "diagnostics"}, "/devices/pump-1")
    detail = {"log": ["started", "learned 3 labels"], "settings": {"sync.interval_s": 300}}
    with acted_on.store.transaction():
        row = acted_on.store.rows(DEVICE_COMMANDS).all("pump-1")[-1]
        path = f"/devices/pump-1/diagnostics/{row.id}"
        acted_on.store.rows(DEVICE_COMMANDS).put(replace(row, state="done", detail=json.dumps(detail)))
    assert path in operator.page("/devices/pump-1").links
    answer = operator.get(path)
    assert answer.json() == detail
    assert answer.headers["Content-Disposition"] == f'attachment; filename="pump-1-diagnostics-{row.id}.json"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert operator.get("/devices/pump-1/diagnostics/ab").status_code == 404
    assert acted_on.browser(Role.SHARE).get(path).status_code == 403


def test_one_day_of_labels_is_told_and_two_are_drawn_also_without_scripts(fleet: PageFleet) -> None:
    with fleet.store.transaction():
        row = fleet.store.registry.get("pump-1")
        assert row is not None
        today = int(NOW_S // 86_400)
        fleet.store.registry.put([replace(
            row, day=today, day_labels=20, day_served_right=18, day_frozen_right=15, served_accuracy=0.9,
            frozen_accuracy=0.75, accuracy_gain=0.15,
        )])  # fmt: skip
    page = fleet.browser(Role.VIEWER).page("/devices/pump-1")
    assert "served 90.0 % , frozen 75.0 % , of 20 labels. A line needs two days." in page.text
    assert not [found for _, found in page.tags if "data-chart" in found]
    with fleet.store.transaction():
        fleet.store.rows(DAYS).put(DayRow("pump-1", today - 1, 10, 9, 5, 100))
    page = fleet.browser(Role.VIEWER).page("/devices/pump-1")
    lines = [found["d"] for tag, found in page.tags if tag == "path" and found.get("class") in ("served", "frozen")]
    assert [len(line.split("L")) for line in lines] == [2, 2]


def test_decisions_of_the_gate_are_told_in_words_with_their_evidence() -> None:
    scores = {"frozen": {"weight": 40.0, "loss": 12.0}, "local": {"weight": 40.0, "loss": 6.0}}
    detail = {"before": "frozen", "after": "local", "by": "prequential", "scores": scores, "labels": 48}
    found = told(EventRow("a", "head-changed", json.dumps(detail), NOW_S))
    assert (
        found.words
        == "local answers instead of frozen after 48 labels: it was better on labels that it had not learned."
    )
    assert found.evidence == (("local", 0.15), ("frozen", 0.3))
    assert found.by == "each label predicted before anybody learned it"
    back = told(EventRow("a", "head-changed", json.dumps({"before": "local", "after": "frozen"}), NOW_S))
    assert back.words == "The frozen head answers again instead of local: it was no worse."
    drift = told(EventRow("a", "drift", json.dumps({"by": "error", "before": 0.05, "after": 0.21}), NOW_S))
    assert drift.words == "Drift: the served head erred on 5.0 % of labels before, 21.0 % since."


@pytest.mark.parametrize(
    "detail",
    ["", "no json", "[]", "7", '{"scores": 7}', '{"scores": {"a": 1, "b": {"weight": 0, "loss": "x"}}}', '{"ids": {}}'],
)
@pytest.mark.parametrize(
    "name", ["head-changed", "drift", "labels-wanted", "labels-doubted", "delivery-rolled-back", "x"]
)
def test_an_event_of_any_form_is_told(name: str, detail: str) -> None:
    found = told(EventRow("a", name, detail, NOW_S))
    assert isinstance(found.words, str)
    assert found.evidence == ()


def test_a_device_of_an_older_agent_and_one_without_labels_have_their_page(fleet: PageFleet) -> None:
    text = fleet.browser(Role.OPERATOR).page("/devices/pump-1").text
    assert "No label yet" in text
    assert "has not said that it takes commands" in text
    assert "has not told of its settings" in text


def test_a_device_that_is_not_there_and_a_name_that_is_none_are_not_found(fleet: PageFleet) -> None:
    browser = fleet.browser(Role.VIEWER)
    assert browser.get("/devices/pump-9").status_code == 404
    assert browser.get("/devices/%3Cscript%3E").status_code == 404
    assert browser.get("/devices/pump-1/parts/secrets").status_code == 404


def test_a_share_link_sees_neither_events_nor_commands_nor_settings(looked_at: PageFleet) -> None:
    shared = looked_at.browser(Role.SHARE)
    text = shared.page(PUMP).text
    assert "Accuracy over time" in text
    for title in ("Commands", "Events", "Settings", "Why this head serves", "Note and tags"):
        assert title not in text


def test_an_operator_asks_for_commands_and_sees_what_came_of_them(acted_on: PageFleet) -> None:
    browser = acted_on.browser(Role.OPERATOR)
    asked = browser.post(f"{PUMP}/commands", {"command": "ask-for-labels", "count": "8"}, PUMP)
    assert asked.headers["location"] == f"{PUMP}?said=asked#commands"
    with acted_on.store.transaction():
        rows = acted_on.store.rows(DEVICE_COMMANDS).all("pump-001")
        newest = max(rows, key=lambda row: row.number)
        assert (newest.name, newest.arguments, newest.who) == ("ask-for-labels", '{"count":8}', "user:olga")
        assert [*entries(acted_on.store)][-1].act == "command-ask-for-labels"
    page = browser.page(asked.headers["location"].partition("#")[0])
    assert "ask-for-labels count: 8" in page.text
    assert "counter: 412, acknowledged: 412" in page.text
    assert browser.post(f"{PUMP}/commands", {"command": "rm", "count": ""}, PUMP).status_code == 400
    many = browser.post(f"{PUMP}/commands", {"command": "ask-for-labels", "count": "eight"}, PUMP)
    assert (many.status_code, "no whole number" in many.text) == (422, True)


def test_note_tags_and_settings_are_kept(acted_on: PageFleet) -> None:
    browser = acted_on.browser(Role.OPERATOR)
    browser.post(f"{PUMP}/note", {"text": "housing cracked"}, PUMP)
    browser.post(f"{PUMP}/tags", {"name": "owner", "value": "ada"}, PUMP)
    browser.post(f"{PUMP}/tags", {"name": "site", "act": "remove"}, PUMP)
    browser.post(f"{PUMP}/settings", {"key": "sync.interval_s", "value": "60"}, PUMP)
    text = browser.page(PUMP).text
    assert "housing cracked" in text
    assert "owner=ada" in text
    assert "site=" not in text
    assert "sync.interval_s 300 60 device pump-001" in text
    browser.post(f"{PUMP}/settings", {"key": "sync.interval_s", "act": "remove"}, PUMP)
    with acted_on.store.transaction():
        wanted = acted_on.store.rows(WANTED_SETTINGS).get("device", "pump-001")
        assert wanted is None or wanted.settings == "{}"


def test_a_device_is_set_aside_readmitted_and_forgotten_only_by_its_name(acted_on: PageFleet) -> None:
    browser = acted_on.browser(Role.OPERATOR)
    browser.post(f"{PUMP}/quarantine", {"reason": "wrong sensor"}, PUMP)
    assert "It does not count now: set aside by hand: wrong sensor." in browser.page(PUMP).text
    browser.post(f"{PUMP}/readmit", {}, PUMP)
    with acted_on.store.transaction():
        assert acted_on.store.rows(QUARANTINED).count("pump-001") == 0
    assert browser.post(f"{PUMP}/remove", {"name": "pump-002"}, PUMP).status_code == 422
    assert browser.post(f"{PUMP}/remove", {"name": "pump-001"}, PUMP).status_code == 303
    with acted_on.store.transaction():
        assert acted_on.store.removal_requests() == ["pump-001"]


def test_a_part_of_what_a_device_taught_is_forgotten_as_by_the_command(acted_on: PageFleet) -> None:
    browser = acted_on.browser(Role.OPERATOR)
    assert browser.post(f"{PUMP}/forget", {"since": "2026-09-01"}, PUMP).status_code == 303
    with acted_on.store.transaction():
        (asked,) = acted_on.store.rows(FORGET_REQUESTS).all()
    assert (asked.device, asked.since_s) == ("pump-001", datetime(2026, 9, 1, tzinfo=UTC).timestamp())
    assert "forgotten as soon as the service gets to it" in browser.page(PUMP).text
    for since, said in (("noon", "'noon' is no time"), ("2099-01-01", "not a time that has passed")):
        refused = browser.post(f"{PUMP}/forget", {"since": since}, PUMP)
        assert refused.status_code >= 400
        assert said in html.unescape(refused.text)
    assert browser.post(f"{PUMP}/forget", {"class": "leak"}, PUMP).status_code == 303
    with acted_on.store.transaction():
        newest = acted_on.store.rows(DEVICE_COMMANDS).all("pump-001")[-1]
    assert (newest.name, json.loads(newest.arguments)) == ("forget-class", {"class": "leak"})


def test_a_form_that_is_sent_twice_is_done_once(acted_on: PageFleet) -> None:
    browser = acted_on.browser(Role.OPERATOR)
    fields = {"reason": "wrong sensor", "once": "a" * 32}
    before = len(_acts(acted_on))
    assert [browser.post(f"{PUMP}/quarantine", fields, PUMP).status_code for _ in range(2)] == [303, 303]
    assert len(_acts(acted_on)) == before + 1
    other = browser.post(f"{PUMP}/quarantine", fields | {"reason": "another"}, PUMP)
    assert other.status_code == 422


@pytest.mark.parametrize("act", ["commands", "note", "tags", "settings", "quarantine", "readmit", "forget", "remove"])
def test_who_only_looks_does_nothing(looked_at: PageFleet, act: str) -> None:
    browser = looked_at.browser(Role.VIEWER)
    page = browser.page(PUMP)
    assert [form for form in page.forms if form.startswith("/devices")] == []
    before = len(_acts(looked_at))
    refused = browser.post(f"{PUMP}/{act}", {"command": "restart", "text": "x", "name": "x", "key": "x"})
    assert (refused.status_code, "needs the role operator" in refused.text) == (403, True)
    assert [act for act in _acts(looked_at)[before:] if act != "create-token"] == []


def test_metrics_of_values_and_of_several_labels_have_their_table(acted_on: PageFleet) -> None:
    from headway.maths import ValueSums

    random = np.random.default_rng(3)
    truth = random.normal(size=(50, 2)).astype(np.float32)
    sums = [ValueSums.of_rows(ValueSums.rows(truth + noise, truth), 2) for noise in (np.float32(0.1), np.float32(0.4))]
    with acted_on.store.transaction():
        row = acted_on.store.device("pump-001")
        assert row is not None
        from dataclasses import replace

        encoded = Metrics(7, 50, *sums).encode()
        acted_on.store.put_device(replace(row, metrics=encoded, class_count=2))
    text = acted_on.browser(Role.VIEWER).page(PUMP).text
    assert "r2" in text.lower()
    # an earlier release took numbers beyond all bounds
    wild = encoded.replace(b'"windows":50', b'"windows":%d' % 2**50)
    assert wild != encoded
    with acted_on.store.transaction():
        acted_on.store.put_device(replace(row, metrics=wild, class_count=2))
    text = acted_on.browser(Role.VIEWER).page(PUMP).text
    assert "r2" not in text.lower()


def _acts(fleet: PageFleet) -> list[str]:
    with fleet.store.transaction():
        return [entry.act for entry in entries(fleet.store)]
