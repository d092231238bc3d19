"""Heads and bundles: what each version learned, two beside each other, orders, and what goes with a device."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aggregator.access import Role
from aggregator.audit import entries
from aggregator.bundle_sender import BEFORE
from aggregator.cli import main
from aggregator.commands.known_bundles import keep_served
from aggregator.heads import EvaluationSample
from aggregator.operations import InfluenceView, compared, kept_bundles, sample_of, served_bundle, share_right
from aggregator.operations.deliveries import NO_BUNDLE
from aggregator.operations.influence import DeviceInfluence
from headway.maths import Statistics, fleet_head
from headway.wire import PublishedHead
from tests.edge_agent.variants import CLASSES, windows
from tests.page.fleet import PageFleet
from tests.page.steering import HEADS, bundle, steer


@pytest.fixture(scope="module")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> PageFleet:
    """A fleet that no test changes."""
    fleet = PageFleet(tmp_path_factory.mktemp("fleet"), 20)
    steer(fleet)
    return fleet


@pytest.fixture
def acted_on(tmp_path: Path) -> PageFleet:
    fleet = PageFleet(tmp_path, 3)
    steer(fleet)
    return fleet


def head(version: int, drift: float, space: str | None = None) -> PublishedHead:
    source = bundle().training_statistics
    x, y = windows(600, drift=drift, seed=version)
    codes, _ = bundle().features.codes(x)
    learned = Statistics.of(codes, y, CLASSES, source.space)
    return PublishedHead(version, "exact", space or source.space, 3, len(x), fleet_head(source, learned))


def sample() -> EvaluationSample:
    x, y = windows(300, drift=0.45, seed=7)
    codes, _ = bundle().features.codes(x)
    return EvaluationSample(bundle().space, codes.astype(np.float32), y, CLASSES)


def test_each_version_says_when_from_whom_and_how_much_more_than_before(looked_at: PageFleet) -> None:
    text = looked_at.browser(Role.SHARE).page("/heads").text
    for version in range(1, HEADS + 1):
        assert f"{version} exact" in text
    assert "+40" in text
    assert f"The sample: {240} rows" in text
    assert "passed" in text
    assert "99.0 % +25.0 200 labels" in text, "of the newest, in the field"
    counts = re.search(r"In the field, served (\S+) % Frozen, same labels (\S+) % Learning gains (\S+) points", text)
    assert counts is not None
    with looked_at.store.reading():
        rows = looked_at.store.registry.columns(("scored", "served_right", "frozen_right", "served_accuracy"))
    scored = [row for row in rows if row[3] is not None]
    assert counts[1] == f"{100 * sum(row[1] for row in scored) / sum(row[0] for row in scored):.1f}"
    assert counts[2] == f"{100 * sum(row[2] for row in scored) / sum(row[0] for row in scored):.1f}"


def test_the_commands_give_the_figures_of_the_place(looked_at: PageFleet, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> Any:
        assert main([*words, "--json", "--state-dir", str(looked_at.folder)]) == 0
        return json.loads(capsys.readouterr().out)

    browser = looked_at.browser(Role.VIEWER)
    text, space = browser.page("/heads").text, bundle().space
    for head in told("heads", "--versions"):
        assert f"{head['version']} exact" in text
        assert f"{100 * head['accuracy']:.1f} %" in text
        assert not head["field_labels"] or f"{100 * head['served']:.1f} % " in text
    (field,) = [found for found in told("heads", "--field") if found["space"] == space]
    assert (
        f"In the field, served {100 * field['served']:.1f} % Frozen, same labels {100 * field['frozen']:.1f} %" in text
    )
    result = told("heads", "--compare", "2", "5")["result"]
    text = browser.page(f"/heads/compare?space={space}&a=2&b=5").text
    assert f"{100 * result['first']:.1f} % {100 * result['second']:.1f} %" in text
    assert f"{result['only_first']} {result['only_second']} of {result['rows']}" in text


def test_two_heads_are_compared_row_by_row_on_the_bundles_sample() -> None:
    first, second, rows = head(1, 0.0), head(2, 0.45), sample()
    found = compared(first, second, rows)
    right = [each.head.probabilities(rows.codes).argmax(axis=1) == rows.labels for each in (first, second)]
    assert (found.first, found.second) == (right[0].mean(), right[1].mean())
    assert found.only_second - found.only_first == right[1].sum() - right[0].sum()
    assert found.second is not None
    assert found.first is not None
    assert found.second > found.first
    assert found.gain == pytest.approx(found.second - found.first)
    difference = right[1].astype(float) - right[0]
    assert found.error == pytest.approx(difference.std(ddof=1) / np.sqrt(len(difference)))
    for each in found.classes:
        own = rows.labels == CLASSES.index(each.name)
        assert (each.rows, each.second) == (own.sum(), right[1][own].mean())
    assert compared(first, first, rows).gain == 0.0


def test_without_a_sample_only_the_weights_are_compared(tmp_path: Path) -> None:
    found = compared(head(1, 0.0), head(2, 0.45), None)
    assert (found.rows, found.first, found.gain) == (0, None, None)
    assert all(each.moved and each.moved > 0 for each in found.classes)
    assert share_right(head(1, 0.0, "f" * 64), sample()) is None
    assert sample_of(tmp_path / "none.hwb") is None
    (tmp_path / "broken.hwb").write_bytes(b"nothing")
    assert sample_of(tmp_path / "broken.hwb") is None


def test_the_comparison_has_an_address_and_names_what_is_not_kept(looked_at: PageFleet) -> None:
    browser, space = looked_at.browser(Role.VIEWER), bundle().space
    page = browser.page(f"/heads/compare?space={space}&a=2&b=5")
    assert "Head 2 and head 5" in page.text
    assert "Weights moved" in page.text
    gone = browser.get(f"/heads/compare?space={space}&a=2&b=99")
    assert gone.status_code == 404
    assert "head 99 is not kept any more" in gone.text
    assert browser.get("/heads/compare?space=none&a=1&b=2").status_code == 404


def test_what_each_device_brings_is_shown_worst_first(looked_at: PageFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = looked_at.browser(Role.VIEWER)
    assert "No report counts yet" in browser.page("/heads/influence").text, "what reports of this fleet hold is made up"
    devices = (DeviceInfluence("liar", 60, 0.5, -0.021, -0.3), DeviceInfluence("pump", 40, 1.0, 0.01, 0.125))
    view = InfluenceView("walk 1.1", 240, 0.9, 0.2, devices, ())
    monkeypatch.setattr("aggregator.page.heads.routes.influence_view", lambda *_: view)
    text = browser.page("/heads/influence").text
    assert re.search(r"liar 60 50.* -0.3000 pump 40 100.* \+1.0 \+0.1250", text)
    alone = browser.page("/heads/influence?device=pump").text
    assert "+0.1250" in alone
    assert "-0.3000" not in alone
    assert "Nothing of nobody counts" in browser.page("/heads/influence?device=nobody").text


def test_what_devices_bring_is_told_of_the_bundle_that_is_served_not_of_the_one_the_service_began_with(
    tmp_path: Path,
) -> None:
    began_with, moved_to = tmp_path / "a.hwb", tmp_path / "b.hwb"
    assert served_bundle(tmp_path, began_with) == began_with
    for at_s, file in enumerate((began_with, moved_to, began_with)):  # there and back
        file.write_bytes(file.name.encode())
        sha256, folder = keep_served(file, tmp_path)
        assert served_bundle(tmp_path, began_with) == folder / f"{sha256}.hwb"
        os.utime(folder / f"{sha256}.hwb", (at_s, at_s))


def test_a_bundle_is_ordered_for_all_taken_back_and_kept_while_somebody_is_to_run_it(acted_on: PageFleet) -> None:
    browser = acted_on.browser(Role.OPERATOR)
    newest, older = kept_bundles(acted_on.base.settings.state_dir, 0.0)
    assert "Order for all" in browser.page("/heads").text
    ordered = browser.post("/heads/bundles/order", {"bundle": older.sha256}, "/heads")
    assert ordered.headers["location"] == "/heads?said=ordered"
    refused = browser.post("/heads/bundles/delete", {"bundle": older.sha256}, "/heads")
    assert refused.status_code == 409
    assert "withdraw the order first" in refused.text
    assert "halt the rollout first" in browser.post("/heads/bundles/delete", {"bundle": newest.sha256}, "/heads").text
    assert browser.post("/heads/bundles/order", {"bundle": ""}, "/heads").headers["location"].endswith("withdrawn")
    with acted_on.store.transaction():
        assert [row.act for row in entries(acted_on.store)][-2:] == ["deliver", "withdraw"]
        acted_on.store.put_delivery(replace(NO_BUNDLE, device=BEFORE, sha256=older.sha256))
    kept = browser.post("/heads/bundles/delete", {"bundle": older.sha256}, "/heads")
    assert "if the last rollout is rolled back" in kept.text


def test_what_goes_with_a_device_is_said_before_it_is_forgotten(acted_on: PageFleet) -> None:
    browser, name = acted_on.browser(Role.OPERATOR), acted_on.names[0]
    text = browser.page(f"/heads/forget?device={name}").text
    assert "40 labels in the heads of walk 1.1" in text
    assert re.search(r"reports, \d+ days of accuracy", text)
    assert f"edge-fleet revoke {name}" in text
    assert "no labels: it has reported none" in browser.page(f"/heads/forget?device={acted_on.names[1]}").text
    assert browser.get("/heads/forget?device=nobody").status_code == 404
    done = browser.post("/heads/forget", {"device": name}, f"/heads/forget?device={name}")
    assert done.headers["location"] == "/heads?said=forgetting"
    with acted_on.store.transaction():
        assert acted_on.store.removal_requests() == [name]
        assert [*entries(acted_on.store)][-1].act == "remove"
    assert "This was asked for already" in browser.page(f"/heads/forget?device={name}").text


def test_a_viewer_looks_and_acts_on_nothing(acted_on: PageFleet) -> None:
    viewer = acted_on.browser(Role.VIEWER)
    page = viewer.page("/heads")
    assert "/heads/bundles/order" not in page.forms
    assert "Forget pump-001" not in viewer.page("/heads/forget?device=pump-001").text
    for path in ("/heads/bundles/order", "/heads/bundles/delete", "/heads/forget"):
        assert viewer.post(path, {"bundle": "", "device": "pump-001"}).status_code == 403
    assert acted_on.browser(Role.SHARE).get("/heads/forget").status_code == 403


def test_an_operator_goes_back_to_a_head_and_lets_it_go(acted_on: PageFleet) -> None:
    operator, space = acted_on.browser(Role.OPERATOR), bundle().space
    compared_at = f"/heads/compare?space={space}&a=2&b=5"
    assert "Go back to head 2" in operator.page(compared_at).text
    assert "Go back to head 2" not in acted_on.browser(Role.VIEWER).page(compared_at).text
    held = operator.post("/heads/hold", {"space": space, "version": "2"}, compared_at)
    assert held.headers["location"] == "/heads?said=held"
    assert "Head 2 is held" in operator.page("/heads").text
    assert operator.post("/heads/hold", {"space": space, "version": "99"}, "/heads").status_code == 404
    assert operator.post("/heads/hold", {"space": space, "version": "two"}, "/heads").status_code == 422
    assert operator.post("/heads/let-go", {"space": space}, "/heads").headers["location"] == "/heads?said=let-go"
    assert operator.post("/heads/let-go", {"space": space}, "/heads").status_code == 404
    assert acted_on.browser(Role.VIEWER).post("/heads/hold", {"space": space, "version": "2"}).status_code == 403
    with acted_on.store.transaction():
        acts = [row.act for row in entries(acted_on.store) if "head" in row.act]
    assert acts == ["hold-head", "let-head-go"]
