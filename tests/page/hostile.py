"""A fleet in which every text that somebody else writes tries to become markup."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from aggregator.audit import record
from aggregator.registry.derived import typed_row
from aggregator.rollouts import plan_of
from aggregator.store import DeviceRow, EventRow, StoredHead
from aggregator.store.rows import (
    ALERT_RULES,
    ALERTS,
    ATTRIBUTE,
    CERTIFICATES,
    DEVICE_COMMANDS,
    EVERY_EPOCH,
    GROUPS,
    HEAD_SPANS,
    JOIN_CODES,
    LABEL_ACTS,
    LABELS_WANTED,
    MEMBERS,
    NOTE,
    PROPERTIES,
    QUARANTINED,
    ROLLOUT_ACTS,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    SETTINGS_STATES,
    SILENCES,
    SPACES,
    SUPPORTED_COMMANDS,
    TAG,
    TOKENS,
    USERS,
    WANTED_LISTS,
    AlertRow,
    AlertRuleRow,
    CertificateRow,
    CommandRow,
    GroupRow,
    HeadSpanRow,
    JoinCodeRow,
    LabelActRow,
    LabelsWantedRow,
    MemberRow,
    PropertyRow,
    QuarantineRow,
    RolloutActRow,
    RolloutDeviceRow,
    RolloutRow,
    SettingsStateRow,
    SilenceRow,
    SpaceRow,
    SupportedCommandsRow,
    TokenRow,
    UserRow,
    WantedListRow,
)
from headway.maths import Head, HeadInput, HeadKind
from headway.wire import ConfigurationState, LabelsWanted, NearestLabel, PublishedHead, Reported, WantedLabel
from tests.api.fleet import NOW_S
from tests.page.fleet import PageFleet

ATTACK = (
    "</script><script>window.pwned=1</script><img src=x onerror='window.pwned=1'>"
    '"onmouseover="window.pwned=1" {{7*7}}'
)
# names are checked where they come in; the page must not rely on it
NAME = '"><svg onload=window.pwned=1>'


def hostile_fleet(folder: Path) -> PageFleet:
    """``pump-1`` and a device named `NAME` with it in every column, mark, event, command and setting."""
    fleet = PageFleet(folder)
    reported = Reported(
        ATTACK, ATTACK[:60], ATTACK[:60], ATTACK[:60], ATTACK, ATTACK[:60], ATTACK, 3, ATTACK[:100], ATTACK, 1, ATTACK
    )  # fmt: skip
    with fleet.store.transaction():
        for name in ("pump-1", NAME):
            row = DeviceRow(name, NOW_S - 1000, NOW_S, True, reported=reported.encode())
            fleet.store.put_device(row)
            fleet.store.registry.put([replace(typed_row(row), refused=1, refused_problem=ATTACK, refused_s=NOW_S)])
            for family in (TAG, NOTE, ATTRIBUTE):
                fleet.store.rows(PROPERTIES).put(PropertyRow(name, family, "" if family == NOTE else ATTACK, ATTACK))
            fleet.store.rows(QUARANTINED).put(QuarantineRow(name, EVERY_EPOCH, ATTACK, NOW_S))
            fleet.store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow(name, json.dumps([ATTACK])))
            _say(fleet, name)
            _ask(fleet, name)
        _steer(fleet)
    return fleet


def _ask(fleet: PageFleet, name: str) -> None:
    """What the device asks, and what people said: all that a list of wanted labels lets pass."""
    window = WantedLabel(
        ATTACK[:128], NOW_S, ATTACK[:64], {ATTACK: 0.5, "<b>": 0.4}, NearestLabel(NAME, ATTACK, 1.0), None
    )
    told = LabelsWanted((ATTACK, "<b>"), (window, replace(window, id=NAME)))
    fleet.store.rows(WANTED_LISTS).put(WantedListRow(name, told.encode(), NOW_S))
    fleet.store.rows(LABELS_WANTED).put(LabelsWantedRow(name, 2, 0.1, NOW_S))
    act = LabelActRow(name, f"{NAME}1", 1, "label", ATTACK, "", f"user:{ATTACK}", NOW_S, "failed", ATTACK, "")
    fleet.store.rows(LABEL_ACTS).put(act)
    fleet.store.rows(HEAD_SPANS).put(HeadSpanRow(name, 1, ATTACK, NOW_S, 9, 8, 7))


def _steer(fleet: PageFleet) -> None:
    """Heads, rollouts, alerts, tokens, codes and the log: whoever wrote them, and whatever let them in."""
    store, space = fleet.store, ATTACK[:60]
    store.rows(SPACES).put(SpaceRow(space, ATTACK, NOW_S))
    kernel, bias = np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
    for version in (1, 2):
        head = PublishedHead(
            version, "exact", space, 1, 9, Head(kernel, bias, HeadKind.SOFTMAX, (ATTACK, "<b>"), HeadInput.CODES)
        )
        store.put_head(StoredHead(version, "exact", space, head.encode(), NOW_S), 16)
        trial = {"head": version, "state": ATTACK, "why": ATTACK}
        store.add_event(EventRow("_heads", "head-trial", json.dumps(trial), NOW_S), 100)
    plan = plan_of({"stages": [{"devices": ["pump-1"]}, {"share": 1.0}]}).encode()
    for name in ("spring", NAME):
        store.rows(ROLLOUTS).put(RolloutRow(
            name, 1, plan, "0" * 64, 9, ATTACK, ATTACK, 1, space, "waits-for-approval", 0, ATTACK, ATTACK, NOW_S, NOW_S,
            NOW_S,
        ))  # fmt: skip
        store.rows(ROLLOUT_DEVICES).put(RolloutDeviceRow(name, NAME, 0, "failed", ATTACK, NOW_S))
        happened = {"rollout": name, "state": ATTACK, "why": ATTACK}
        store.add_event(EventRow("_rollouts", "rollout", json.dumps(happened), NOW_S), 100)
    store.rows(ROLLOUT_ACTS).put(RolloutActRow(1, "spring", ATTACK, ATTACK, ATTACK, NOW_S))
    for number, name in enumerate((ATTACK, "drift", "quarantined", "certificate-expires"), 1):
        row = AlertRow(number, name, NAME, "critical", "open", ATTACK, NOW_S, NOW_S, 0.0, 0.0, True, "", "", 0.0)
        store.rows(ALERTS).put(row)
    store.rows(ALERTS).put(replace(row, number=9, acknowledged_by=ATTACK, remark=ATTACK))
    store.rows(ALERT_RULES).put(
        AlertRuleRow(NAME, "devices", f'tag.site == "{NAME[2:]}"', "critical", 0.0, True, NOW_S)
    )
    store.rows(SILENCES).put(SilenceRow(1, ATTACK, NAME, "", NOW_S + 9e9, ATTACK, ATTACK, NOW_S))
    store.rows(USERS).put(UserRow(NAME, "viewer", "", NOW_S))
    store.rows(TOKENS).put(TokenRow("0" * 64, NAME, NAME, ATTACK, "viewer", NOW_S, NOW_S + 9e9))
    store.rows(CERTIFICATES).put(CertificateRow(ATTACK, NAME, "[]", "", "0", b"", NOW_S, NOW_S + 9e6, 0.0))
    store.rows(JOIN_CODES).put(JoinCodeRow(NAME, NAME, json.dumps([ATTACK]), 0, 1, NOW_S, NOW_S + 9e6))
    store.rows(GROUPS).put(GroupRow(NAME, "labels > 5", NOW_S))
    store.rows(MEMBERS).put(MemberRow(NAME, f"{NAME}list"))
    store.rows(GROUPS).put(GroupRow(f"{NAME}list", "", NOW_S))
    record(store, ATTACK, ATTACK, ATTACK, NOW_S, **{ATTACK: ATTACK, "list": [ATTACK]})


def _say(fleet: PageFleet, name: str) -> None:
    scores = {ATTACK: {"weight": 2.0, "loss": 1.0}}
    head = {"before": ATTACK, "after": ATTACK, "by": ATTACK, "scores": scores, "labels": 3}
    for event, detail in (
        ("head-changed", head),
        (ATTACK[:64], {ATTACK: ATTACK}),
        ("labels-wanted", {"ids": [ATTACK]}),
    ):
        fleet.store.add_event(EventRow(name, event, json.dumps(detail), NOW_S), 100)
    for number, (command, result) in enumerate((("diagnostics", {ATTACK: [ATTACK]}), (ATTACK, {ATTACK: ATTACK}))):
        row = CommandRow(
            name, f"{number:016x}", number, command, json.dumps({ATTACK: ATTACK}), ATTACK, NOW_S, NOW_S, "done",
            json.dumps(result), NOW_S,
        )  # fmt: skip
        fleet.store.rows(DEVICE_COMMANDS).put(row)
    state = ConfigurationState(0, "waiting", {"sync.interval_s": ATTACK[:80]}, (), {"a.b": ATTACK}, ATTACK)
    fleet.store.rows(SETTINGS_STATES).put(SettingsStateRow(name, state.encode(), NOW_S))
