"""What waits for a person: labels that devices want, what is said of their windows, and everything else to decide."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.alerts import Severity
from aggregator.alerts import State as AlertState
from aggregator.audit import problems
from aggregator.cli import main
from aggregator.inbox import ActState, InboxItem, InboxPage, LabelAct, WantedView, inbox_page, say, wanted_view
from aggregator.inbox.acting import ACTS_MAX
from aggregator.inbox.wishes import LISTS_AN_HOUR_MAX
from aggregator.remote_commands import commands_of
from aggregator.store import DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import (
    ALERT_ACTS,
    ALERTS,
    AUDIT,
    DEVICE_COMMANDS,
    LABEL_ACTS,
    LABELS_WANTED,
    ROLLOUTS,
    SILENCES,
    SUPPORTED_COMMANDS,
    WANTED_LISTS,
    AlertActRow,
    AlertRow,
    LabelActRow,
    LabelsWantedRow,
    RolloutRow,
    SilenceRow,
    SupportedCommandsRow,
    WantedListRow,
)
from aggregator.store.sql import SqlStore
from headway.errors import ConfigError, ConflictError
from headway.ports import Outgoing, Received
from headway.wire import (
    SERIES,
    CommandResult,
    CommandResults,
    Commands,
    Kind,
    LabelsWanted,
    NearestLabel,
    Sketch,
    Status,
    WantedLabel,
    topic,
)
from tests.aggregator.fleets import CLASSES, FLEET, Fleet

NAMES = ("label", "skip-window", "undo-label")


def window(name: str, margin: float = 0.1) -> WantedLabel:
    first = round(0.5 + margin / 2, 4)
    return WantedLabel(name, 1.75e9, "exact", {"walk": first, "run": round(1 - first, 4)})


def wish(fleet: Fleet, *windows: WantedLabel, device: str = "a") -> None:
    payload = LabelsWanted(CLASSES, windows).encode()
    fleet.send(Received(topic(FLEET, device, Kind.LABELS_WANTED), payload, retain=True))


def tell(fleet: Fleet, *results: CommandResult, names: tuple[str, ...] = NAMES, device: str = "a") -> None:
    payload = CommandResults(names, results).encode()
    fleet.send(Received(topic(FLEET, device, Kind.COMMAND_RESULTS), payload, retain=True))


def said(
    fleet: Fleet, name: str, act: LabelAct = LabelAct.LABEL, class_name: str = "", device: str = "a"
) -> LabelActRow:
    with fleet.store.transaction():
        return say(fleet.store, "a", name, act, class_name, "local:op", fleet.instant.wall_s)


def view(fleet: Fleet, device: str = "a") -> WantedView:
    with fleet.store.transaction():
        return wanted_view(fleet.store, device)


def ids(fleet: Fleet) -> list[str]:
    return [one.id for one in view(fleet).windows]


def page(fleet: Fleet, kind: str = "", after: str = "", count_max: int = 100) -> InboxPage:
    with fleet.store.transaction():
        return inbox_page(fleet.store, kind, after, count_max, fleet.instant.wall_s)


def asked_of(fleet: Fleet, device: str = "a") -> list[tuple[str, object]]:
    with fleet.store.transaction():
        return [(row.name, json.loads(row.arguments)) for row in commands_of(fleet.store, device)]


@pytest.fixture
def fleet() -> Fleet:
    fleet = Fleet()
    fleet.send(Received(topic(FLEET, "a", Kind.STATUS), Status(True, 1).encode()))
    tell(fleet)
    wish(fleet, window("w1", 0.01), window("w2", 0.2), window("w3", 0.3))
    return fleet


def test_what_a_device_wants_to_know_is_shown_and_outlives_a_restart(fleet: Fleet) -> None:
    for _ in range(2):
        told = view(fleet)
        assert told.classes == CLASSES
        assert [one.id for one in told.windows] == ["w1", "w2", "w3"]
        assert told.windows[0].margin == pytest.approx(0.01)
        (item,) = page(fleet).items
        assert (item.kind, item.subject, item.windows) == ("labels", "a", 3)
        fleet.restart()


def test_a_label_goes_as_a_command_and_the_window_leaves_the_list_at_once(fleet: Fleet) -> None:
    row = said(fleet, "w1", class_name="walk")
    assert (row.state, row.class_name) == (ActState.ASKED, "walk")
    assert ids(fleet) == ["w2", "w3"]
    assert page(fleet).windows == 2
    (sent,) = [one for one in fleet.pass_time(1.0) if isinstance(one, Outgoing) and one.topic.endswith("/commands")]
    (command,) = Commands.decode(sent.payload).commands
    assert (command.id, command.name, command.arguments) == (row.command, "label", {"window": "w1", "class": "walk"})
    tell(fleet, CommandResult(row.command, "done", {"label": "learned"}, 1.0))
    assert [act.state for act in view(fleet).acts] == [ActState.DONE]
    wish(fleet, window("w2", 0.2), window("w1", 0.01))
    assert ids(fleet) == ["w2"], "a list that crossed the label does not bring it back"


def test_a_label_that_the_device_refuses_is_open_again_with_the_reason(fleet: Fleet) -> None:
    row = said(fleet, "w1", class_name="dance")
    fleet.pass_time(1.0)
    tell(fleet, CommandResult(row.command, "failed", {"problem": "'dance' is no class of this device"}, 1.0))
    first = view(fleet).windows[0]
    assert (first.id, first.problem) == ("w1", "'dance' is no class of this device")
    assert page(fleet).windows == 3
    said(fleet, "w1", class_name="walk")
    assert ids(fleet) == ["w2", "w3"]


def test_a_label_that_the_device_never_took_is_open_again_after_its_deadline(fleet: Fleet) -> None:
    said(fleet, "w1", class_name="walk")
    fleet.pass_time(1.0)
    fleet.pass_time(7 * 86_400.0)
    fleet.pass_time(30.0)
    assert view(fleet).windows[0].problem.startswith("no answer came before the deadline")


def test_saying_the_same_again_asks_for_nothing_new_and_another_class_corrects(fleet: Fleet) -> None:
    first = said(fleet, "w1", class_name="walk")
    assert said(fleet, "w1", class_name="walk") == first
    said(fleet, "w1", class_name="run")
    assert [arguments for _, arguments in asked_of(fleet)] == [
        {"window": "w1", "class": "walk"},
        {"window": "w1", "class": "run"},
    ]


@pytest.mark.parametrize("act", [LabelAct.NONE, LabelAct.SKIP])
def test_a_window_that_nobody_labels_leaves_the_list_and_the_device_is_told(fleet: Fleet, act: LabelAct) -> None:
    said(fleet, "w2", act)
    assert ids(fleet) == ["w1", "w3"]
    assert asked_of(fleet) == [("skip-window", {"window": "w2"})]


def test_the_inbox_can_be_emptied(fleet: Fleet) -> None:
    said(fleet, "w1", class_name="walk")
    said(fleet, "w2", LabelAct.NONE)
    said(fleet, "w3", LabelAct.SKIP)
    assert (page(fleet).items, page(fleet).windows) == ([], 0)
    wish(fleet, window("w4"))
    assert page(fleet).windows == 1


def test_what_is_taken_back_is_open_at_once_whatever_the_device_lists(fleet: Fleet) -> None:
    said(fleet, "w1", class_name="walk")
    wish(fleet, window("w2", 0.2))
    said(fleet, "w1", LabelAct.UNDO)
    assert ids(fleet) == ["w1", "w2"]
    assert [name for name, _ in asked_of(fleet)] == ["label", "undo-label"]
    fleet.pass_time(1.0)
    tell(fleet, CommandResult(view(fleet).acts[0].command, "done", {"label": "corrected"}, 1.0))
    assert ids(fleet) == ["w1", "w2"]
    wish(fleet, window("w5", 0.2))
    assert ids(fleet) == ["w5"], "from then on the device says itself what it wants to know"
    with pytest.raises(ConflictError, match="nothing was said here of window 'w1'"):
        said(fleet, "w1", LabelAct.UNDO)


def test_an_undo_that_the_device_refuses_says_so(fleet: Fleet) -> None:
    said(fleet, "w1", class_name="walk")
    row = said(fleet, "w1", LabelAct.UNDO)
    fleet.pass_time(1.0)
    tell(fleet, CommandResult(row.command, "failed", {"problem": "does not remember window 'w1'"}, 1.0))
    assert view(fleet).windows[0].problem == "does not remember window 'w1'"


def test_an_older_agent_takes_labels_and_is_asked_nothing_that_it_does_not_know(fleet: Fleet) -> None:
    tell(fleet, names=("label",))
    assert said(fleet, "w1", LabelAct.SKIP).state == ActState.DONE
    said(fleet, "w1", LabelAct.UNDO)
    said(fleet, "w2", class_name="walk")
    with pytest.raises(ConfigError, match="edge-agent label w2 --undo"):
        said(fleet, "w2", LabelAct.UNDO)
    assert asked_of(fleet) == [("label", {"window": "w2", "class": "walk"})]


@pytest.mark.parametrize(
    ("name", "act", "class_name", "problem"),
    [
        ("w1", LabelAct.LABEL, "", "a class belongs to label"),
        ("w1", LabelAct.SKIP, "walk", "a class belongs to label"),
        ("", LabelAct.SKIP, "", "is no id of a window"),
        ("w\n1", LabelAct.SKIP, "", "is no id of a window"),
        ("w1", LabelAct.LABEL, "x" * 300, "1 to 256 characters"),
    ],
)
def test_what_cannot_be_said_is_refused(fleet: Fleet, name: str, act: LabelAct, class_name: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        said(fleet, name, act, class_name)
    assert view(fleet).acts == []


def test_what_is_kept_of_acts_is_bounded(fleet: Fleet) -> None:
    for number in range(ACTS_MAX + 5):
        row = said(fleet, f"x{number}", class_name="walk")
        fleet.pass_time(1.0)
        tell(fleet, CommandResult(row.command, "done", {}, 1.0))
    acts = view(fleet).acts
    assert (len(acts), acts[0].window) == (ACTS_MAX, f"x{ACTS_MAX + 4}")


def test_a_device_that_sends_lists_all_the_time_is_refused_and_its_last_one_kept(fleet: Fleet) -> None:
    for number in range(LISTS_AN_HOUR_MAX + 5):
        wish(fleet, window(f"n{number}"))
    assert fleet.refusals["a", "rate"] == 6, "the first list was sent before"
    assert ids(fleet) == [f"n{LISTS_AN_HOUR_MAX - 2}"]


def test_a_removed_device_leaves_nothing_behind(fleet: Fleet) -> None:
    said(fleet, "w1", class_name="walk")
    with fleet.store.transaction():
        fleet.store.request_removal("a", fleet.instant.wall_s)
    effects = fleet.pass_time(1.0)
    cleared = {one.topic for one in effects if isinstance(one, Outgoing) and not one.payload}
    assert topic(FLEET, "a", Kind.LABELS_WANTED) in cleared
    with fleet.store.transaction():
        for collection in (LABELS_WANTED, LABEL_ACTS, WANTED_LISTS):
            assert fleet.store.rows(collection).count() == 0


def alert(number: int, rule: str, severity: Severity, opened_s: float, state: AlertState = AlertState.OPEN) -> AlertRow:
    return AlertRow(
        number, rule, f"pump-{number}", str(severity), str(state), f"because of {number}", opened_s, opened_s, 0.0, 0.0,
        True, "", "", 0.0,
    )  # fmt: skip


ROLLOUT = RolloutRow(
    "spring", 1, "{}", "0" * 64, 1, "watch", "1.2", 2, "5" * 64, "waits-for-approval", 1, "", "3 devices are well",
    0.0, 50.0, 0.0,
)  # fmt: skip


@pytest.fixture
def busy(fleet: Fleet) -> Fleet:
    """Everything that can wait for a person."""
    with fleet.store.transaction():
        alerts = fleet.store.rows(ALERTS)
        alerts.put(alert(1, "drift", Severity.INFO, 10.0))
        alerts.put(alert(2, "certificate-expires", Severity.WARNING, 20.0))
        alerts.put(alert(3, "quarantined", Severity.WARNING, 5.0))
        alerts.put(alert(4, "disk", Severity.CRITICAL, 30.0))
        alerts.put(alert(5, "drift", Severity.INFO, 1.0, AlertState.CLOSED))
        alerts.put(alert(6, "rollout-waits", Severity.INFO, 1.0))
        fleet.store.rows(ROLLOUTS).put(ROLLOUT)
        fleet.store.rows(ROLLOUTS).put(replace(ROLLOUT, name="autumn", state="done"))
    return fleet


def test_the_most_urgent_comes_first_and_each_kind_is_counted(busy: Fleet) -> None:
    found = page(busy)
    assert [(item.kind, item.subject) for item in found.items] == [
        ("alert", "pump-4"), ("rollout", "spring"), ("quarantine", "pump-3"), ("certificate", "pump-2"),
        ("drift", "pump-1"), ("labels", "a"),
    ]  # fmt: skip
    assert found.counts == dict.fromkeys(("rollout", "certificate", "quarantine", "drift", "alert", "labels"), 1)
    assert found.items[0].summary == "disk: because of 4"
    assert found.items[1].summary == ("stage 2 of the rollout of watch 1.2 waits for approval: 3 devices are well")
    assert [item.subject for item in page(busy, "quarantine").items] == ["pump-3"]
    with pytest.raises(ConfigError, match="no kind 'cake'"):
        page(busy, "cake")


def test_pages_follow_each_other_without_gaps(busy: Fleet) -> None:
    whole, found, after = page(busy).items, list[InboxItem](), ""
    while True:
        part = page(busy, after=after, count_max=2)
        found += part.items
        after = part.next
        if not after:
            break
    assert found == whole
    with pytest.raises(ConfigError, match="is none of the inbox"):
        page(busy, after="WzFd")


def test_what_is_seen_to_or_silenced_is_not_shown(busy: Fleet) -> None:
    with busy.store.transaction():
        busy.store.rows(ALERT_ACTS).put(AlertActRow(1, 4, "local:op", "", 0.0))
        busy.store.rows(ALERTS).put(replace(alert(3, "quarantined", Severity.WARNING, 5.0), acknowledged_by="local:op"))
        busy.store.rows(SILENCES).put(SilenceRow(1, "", "pump-1", "", 9e9, "local:op", "", 0.0))
    assert [item.kind for item in page(busy).items] == ["rollout", "certificate", "labels"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The store of a fleet on the disk, with one device that wants a label."""
    store = SqlStore(sqlite_url(tmp_path))
    sketch = Sketch(SERIES, 0.0, 1.0, (b"\x01\xff",))
    listed = replace(window("w1"), nearest=NearestLabel("w0", "idle", 12.5), sketch=sketch)
    with store.transaction():
        store.put_device(DeviceRow("pump-7", 1.0, 2.0))
        store.registry.put([RegistryRow("pump-7", 1.0, 2.0)])
        store.rows(WANTED_LISTS).put(WantedListRow("pump-7", LabelsWanted(CLASSES, (listed,)).encode(), 1.0))
        store.rows(LABELS_WANTED).put(LabelsWantedRow("pump-7", 1, 0.1, 1.0))
        store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow("pump-7", json.dumps(NAMES)))
    store.close()
    return tmp_path


def run(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main([words[0], "--state-dir", str(folder), *words[1:]])
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def test_the_commands_show_the_inbox_and_empty_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = run(folder, capsys, "inbox")
    assert code == 0
    assert "1 window to label" in shown
    assert "edge-fleet inbox --device pump-7" in shown
    _, shown = run(folder, capsys, "inbox", "--device", "pump-7")
    assert "walk 55 %, run 45 %" in shown
    assert "idle (w0, 12.5)" in shown
    assert "classes: idle, walk, run" in shown
    code, shown = run(folder, capsys, "label", "pump-7", "w1", "walk")
    assert code == 0
    assert shown.startswith("w1 is walk; pump-7 is told when it is there")
    assert run(folder, capsys, "inbox") == (0, "nothing waits for you\n")
    assert "pump-7 wants no label" in run(folder, capsys, "inbox", "--device", "pump-7")[1]
    assert "taken back" in run(folder, capsys, "label", "pump-7", "w1", "--undo")[1]
    _, shown = run(folder, capsys, "inbox", "--json")
    assert json.loads(shown)["windows"] == 1
    _, shown = run(folder, capsys, "inbox", "--device", "pump-7", "--json")
    assert json.loads(shown)["windows"][0]["sketch"]["kind"] == "series"
    store = SqlStore(sqlite_url(folder))
    with store.transaction():
        assert [row.name for row in store.rows(DEVICE_COMMANDS).all()].count("label") == 1
        assert problems(store) == []
        assert [row.act for row in store.rows(AUDIT).all()] == ["label", "label-undo"]
    store.close()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("label", "pump-7", "w1"), "say one thing of window 'w1'"),
        (("label", "pump-7", "w1", "walk", "--skip"), "say one thing of window 'w1'"),
        (("label", "pump-8", "w1", "walk"), "no device 'pump-8'"),
        (("label", "pump-7", "w1", "--undo"), "nothing was said here of window 'w1'"),
        (("inbox", "--kind", "cake"), "no kind 'cake'"),
        (("inbox", "--device", "pump-7", "--kind", "labels"), "leave --kind out"),
        (("inbox", "--limit", "0"), "--limit must be from 1 to 1000"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    code, shown = run(folder, capsys, *words)
    assert code == 2
    assert problem in shown
    assert shown.count("\n") == 1
