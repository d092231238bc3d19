"""``edge-fleet device``, the API and the page show everything that is known of one device, field by field."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aggregator.cli import main
from aggregator.store import ONLINE, DeviceRow, RegistryRow
from aggregator.store.location import sqlite_url
from aggregator.store.rows import (
    ATTRIBUTE,
    DAYS,
    GROUPS,
    MEMBERS,
    NOTE,
    PROPERTIES,
    QUARANTINED,
    TAG,
    DayRow,
    GroupRow,
    MemberRow,
    PropertyRow,
    QuarantineRow,
)
from aggregator.store.sql import SqlStore

NOW_S = 1_790_000_000.0
DAY = int(NOW_S // 86_400)
ROW = RegistryRow(
    "pump-1", NOW_S - 5 * 86_400, NOW_S - 120, link=ONLINE, link_since_s=NOW_S - 7200, health="problem",
    health_since_s=NOW_S - 600, learning="on", learning_since_s=NOW_S - 3 * 86_400, problem="camera-lost",
    bundle="watch", bundle_version="1.2", bundle_and_version="watch 1.2", release=4, space="5" * 64, head="fleet/7",
    learner="exact", runtime="litert float32 neon", agent_version="0.3.0", machine="aarch64 python 3.11.2",
    delivery="confirmed", epoch=7, counter=3, labels=60, scored=50, served_right=45, frozen_right=40,
    served_accuracy=0.9, frozen_accuracy=0.8, accuracy_gain=0.1, recent_weight=30.0, recent_served_accuracy=0.75,
    recent_frozen_accuracy=0.5, recent_accuracy_gain=0.25, drift_alarms=2, drift_s=NOW_S - 300, refused=3,
    refused_reason="statistics", refused_problem="too late", refused_s=NOW_S - 60, disk_free_bytes=1_500_000_000,
    memory_free_bytes=64_000_000, temperature_c=51.25, bytes_per_day=12_300.0, day=DAY, day_labels=5,
    day_served_right=4, day_frozen_right=3, day_bytes=999,
)  # fmt: skip
# of each field of the registry: what a person reads, and what programs do
SHOWN = {
    "first seen": ("seen 2 min ago, first 5 d ago", ("first_seen_s", ROW.first_seen_s)),
    "last seen": ("seen 2 min ago", ("last_seen_s", ROW.last_seen_s)),
    "link": ("link online, since 2 h ago", ("link_since_s", ROW.link_since_s)),
    "health": ("health problem, since 10 min ago", ("health_since_s", ROW.health_since_s)),
    "learning": ("learning on, since 3 d ago", ("learning_since_s", ROW.learning_since_s)),
    "problem": ("problem camera-lost", ("problem", "camera-lost")),
    "bundle": ("bundle watch 1.2, release 4; confirmed", ("bundle_version", "1.2")),
    "space": (f"space {ROW.space}", ("space", ROW.space)),
    "head": ("head fleet/7", ("head", "fleet/7")),
    "learner": ("learner exact", ("learner", "exact")),
    "labels": ("labels 60, 50 of this epoch scored", ("scored", 50)),
    "accuracy of all": ("accuracy 90.0 % served, 80.0 % frozen", ("frozen_accuracy", 0.8)),
    "recent accuracy": ("recently 75.0 % served, 50.0 % frozen", ("recent_served_accuracy", 0.75)),
    "drift": ("drift 2 alarms, last 5 min ago", ("drift_alarms", 2)),
    "refusals": ("refused 3 messages, last 1 min ago (statistics): too late", ("refused", 3)),
    "quarantine": ("counts no, set aside: no head with it", ("quarantined", "no head with it")),
    "hardware": ("aarch64 python 3.11.2, litert float32 neon, edge-agent 0.3.0", ("machine", ROW.machine)),
    "free disk": ("1.5 GB disk free", ("disk_free_bytes", 1_500_000_000)),
    "free memory": ("64.0 MB memory free", ("memory_free_bytes", 64_000_000)),
    "temperature": ("51.2 degrees Celsius", ("temperature_c", 51.25)),
    "bytes per day": ("12.3 KB a day received", ("bytes_per_day", 12_300.0)),
    "tags": ("tags site=north", ("tags", {"site": "north"})),
    "attributes": ("attributes room=cellar", ("attributes", {"room": "cellar"})),
    "groups": ("groups pilots, working", ("groups", ["pilots", "working"])),
    "note": ("note by the door", ("note", "by the door")),
    "days": ("5 80.0 % 60.0 % 999", ("days", [
        {"day": "2026-09-21", "labels": 5, "served_accuracy": 0.8, "frozen_accuracy": 0.6, "bytes": 999},
        {"day": "2026-09-20", "labels": 8, "served_accuracy": 0.5, "frozen_accuracy": 0.25, "bytes": 77},
    ])),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("headway.clocks.SystemClock.wall_s", lambda self: NOW_S)
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-1", ROW.first_seen_s, ROW.last_seen_s))
        store.registry.put([ROW])
        for family, name, value in ((TAG, "site", "north"), (ATTRIBUTE, "room", "cellar"), (NOTE, "", "by the door")):
            store.rows(PROPERTIES).put(PropertyRow("pump-1", family, name, value))
        store.rows(GROUPS).put(GroupRow("pilots", "", NOW_S))
        store.rows(GROUPS).put(GroupRow("working", "labels > 50", NOW_S))
        store.rows(GROUPS).put(GroupRow("idle", "labels < 50", NOW_S))
        store.rows(MEMBERS).put(MemberRow("pump-1", "pilots"))
        store.rows(QUARANTINED).put(QuarantineRow("pump-1", 7, "no head with it", NOW_S))
        store.rows(DAYS).put(DayRow("pump-1", DAY - 1, 8, 4, 2, 77))
    store.close()
    return ["--state-dir", str(tmp_path)]


@pytest.mark.parametrize("field", SHOWN)
def test_a_person_reads_each_field(place: list[str], field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "pump-1", *place]) == 0
    assert SHOWN[field][0] in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("field", SHOWN)
def test_a_program_reads_each_field(place: list[str], field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["device", "pump-1", "--json", *place]) == 0
    name, value = SHOWN[field][1]
    assert json.loads(capsys.readouterr().out)[name] == value


def test_what_never_happened_is_said(place: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqlStore(sqlite_url(tmp_path))
    with store.transaction():
        store.put_device(DeviceRow("pump-2", 0.0, NOW_S))
        store.registry.put([RegistryRow("pump-2", 0.0, NOW_S)])
    store.close()
    assert main(["device", "pump-2", *place]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:1].islower())
    assert (lines["drift"], lines["refused"], lines["counts"], lines["labels"]) == (
        "0 alarms",
        "0 messages",
        "yes",
        "0",
    )
    assert "head" not in lines
