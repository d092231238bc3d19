"""Heads, bundles, a rollout in its second stage, certificates, codes and alerts, written into a fleet of the page."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from aggregator.bundle_sender import FileShelf
from aggregator.operations import (
    Operator,
    SilenceWanted,
    begin_rollout,
    change_list,
    save_group,
    set_rule,
    shelve,
    silence_alerts,
)
from aggregator.rollouts import plan_of
from aggregator.store import EventRow, StoredHead, StoredStatistics
from aggregator.store.rows import (
    ALERTS,
    CERTIFICATES,
    HEAD_FIELD,
    JOIN_CODES,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    SPACES,
    TRIALS,
    AlertRow,
    CertificateRow,
    HeadFieldRow,
    JoinCodeRow,
    RolloutDeviceRow,
    SpaceRow,
    TrialRow,
)
from headway.bundle import TrainingRows, Variant
from headway.maths import PairedLoss, Statistics, fleet_head
from headway.wire import PublishedHead, TrialReport
from tests.api.fleet import NOW_S
from tests.edge_agent.variants import CLASSES, variant, windows
from tests.page.fleet import PageFleet

DAY_S = 86_400.0
HEADS = 6
HOSTILE = "<img src=x onerror=alert(1)>\"'{{7*7}}"


def bundle(release: int = 1) -> Variant:
    """With a sample of its training data."""
    made = variant()
    x, y = windows(240, drift=0.15, seed=7)
    codes, _ = made.features.codes(x)
    return replace(made, version=f"1.{release}", release=release, buffer=TrainingRows(codes, labels=y))


def steer(fleet: PageFleet, worse: float = -0.01) -> None:
    """worse: paired loss of the rollout's bundle, new less old."""
    settings, store, names = fleet.base.settings, fleet.store, fleet.names
    bundle().write(settings.bundle)
    rows = []
    for release in (1, 2):
        file = fleet.folder / f"release-{release}.hwb"
        bundle(release).write(file)
        rows.append(shelve(file, settings.state_dir, None, NOW_S - 9 * DAY_S))
    space = bundle().space
    with store.transaction():
        for name in names:
            row = store.registry.get(name)
            assert row is not None
            store.registry.put([replace(row, space=space, bundle="walk", release=1)])
        _heads(fleet, space)
        operator = Operator(store, "user:olga", NOW_S - 2 * DAY_S)
        save_group(operator, "losing", "recent_accuracy_gain < -2%")
        change_list(operator, "pilot-plant", names[:3], [])
        set_rule(operator, "cold", {"devices": "temperature < 2"}, "critical", 600.0, True)
        silence_alerts(Operator(store, "user:olga", NOW_S), SilenceWanted("device-silent", "", "", "2h", "maintenance"))
        plan = plan_of(
            {
                "stages": [
                    {"devices": names[:3], "windows_min": 50, "devices_min": 2},
                    {"share": 0.5, "approve": True, "windows_min": 50, "devices_min": 3, "margin": 0.04},
                    {"share": 1.0},
                ]
            }
        )
        begin_rollout(operator, "spring", plan, rows[1])
        _rollout(fleet, rows[1].sha256, worse)
        _enrolment(fleet)
        for number, (rule, severity) in enumerate((("device-silent", "warning"), ("disk", "critical")), 1):
            store.rows(ALERTS).put(
                AlertRow(
                    number, rule, names[number], severity, "open", f"{names[number]}: silent for 3 h",
                    NOW_S - 7200, NOW_S - 7000, 0.0, 0.0, True, "", "", 0.0,
                )
            )  # fmt: skip
    assert FileShelf(settings.state_dir / "bundles").path(rows[0].sha256).exists()


def _heads(fleet: PageFleet, space: str) -> None:
    store, source = fleet.store, bundle().training_statistics
    store.rows(SPACES).put(SpaceRow(space, "walk 1.1", NOW_S))
    for version in range(1, HEADS + 1):
        x, y = windows(40 * version, drift=0.1 * version, seed=version)
        codes, _ = bundle().features.codes(x)
        learned = Statistics.of(codes, y, CLASSES, space)
        head = PublishedHead(version, "exact", space, 3 * version, 40 * version, fleet_head(source, learned))
        store.put_head(StoredHead(version, "exact", space, head.encode(), NOW_S - (HEADS - version) * DAY_S), 16)
        if version > 1:
            store.rows(HEAD_FIELD).put(HeadFieldRow(space, version, 200, 150 + 8 * version, 148))
    store.put_statistics(StoredStatistics(fleet.names[0], 7, 40, space, b"", 40))
    detail = json.dumps({"head": HEADS, "state": "passed", "why": "heads: paired loss -0.0120 +- 0.0040"})
    store.add_event(EventRow("_heads", "head-trial", detail, NOW_S - 60), 1000)


def _rollout(fleet: PageFleet, sha256: str, worse: float) -> None:
    store, random = fleet.store, np.random.default_rng(3)
    row = store.rows(ROLLOUTS).get("spring")
    assert row is not None
    store.rows(ROLLOUTS).put(replace(row, stage=1, why="stage 1 has soaked", phase_since_s=NOW_S - 3600))
    half = len(fleet.names) // 2 + 1
    for place, name in enumerate(fleet.names[:half]):
        stage = 0 if place < 3 else 1
        failed = place == half - 1 and half > 6
        state = "there" if stage == 0 else "failed" if failed else "trying" if place % 4 else "ordered"
        problem = "its self-test ended with signal 11" if failed else ""
        store.rows(ROLLOUT_DEVICES).put(RolloutDeviceRow("spring", name, stage, state, problem, NOW_S - 900))
        old = random.uniform(0, 1, 40)
        sums = PairedLoss.of(old + worse + 0.15 * random.normal(size=40), old)
        report = TrialReport(sha256, 3, "running", sums, sums, latency_old_ms=2.0, latency_new_ms=2.2)
        store.rows(TRIALS).put(TrialRow(name, report.encode(), NOW_S - 60))
    for at_s, state, why in ((2 * DAY_S, "running", "begun"), (3600, "running", "stage 1 has soaked")):
        detail = json.dumps({"rollout": "spring", "state": state, "why": why})
        store.add_event(EventRow("_rollouts", "rollout", detail, NOW_S - at_s), 1000)


def _enrolment(fleet: PageFleet) -> None:
    for number, name in enumerate(fleet.names[:4]):
        ends_s = NOW_S + (10 + 40 * number) * DAY_S
        fleet.store.rows(CERTIFICATES).put(
            CertificateRow(f"{number:032x}", name, "[]", "", f"{number:064x}", b"PEM", NOW_S - DAY_S, ends_s, 0.0)
        )
    fleet.store.rows(JOIN_CODES).put(
        JoinCodeRow("c" * 64, "", '["pilot-plant"]', 3, 20, NOW_S - DAY_S, NOW_S + 6 * DAY_S)
    )
