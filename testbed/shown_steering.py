"""What operators of a shown fleet have steered: heads, bundles, rollouts, users, tokens, rules, codes, and their log.

Beside what `testbed.shown_fleet.fill` wrote. Bundles and heads are real: a sample of training data scores them, and
they are computed from tables; acts are those of `aggregator.operations`, so that the audit log is one.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from aggregator.access import Role
from aggregator.audit import record
from aggregator.operations import (
    Operator,
    SilenceWanted,
    begin_rollout,
    change_list,
    create_token,
    put_user,
    save_group,
    set_rule,
    shelve,
    silence_alerts,
)
from aggregator.rollouts import Plan, judged, plan_of, stage_evidence
from aggregator.store import DeliveryRow, EventRow, Store, StoredHead, StoredStatistics
from aggregator.store.rows import (
    CERTIFICATES,
    HEAD_FIELD,
    HEAD_SPANS,
    JOIN_CODES,
    ROLLOUT_DEVICES,
    ROLLOUTS,
    SPACES,
    TRIALS,
    CertificateRow,
    HeadFieldRow,
    HeadSpanRow,
    JoinCodeRow,
    RolloutDeviceRow,
    SpaceRow,
    TrialRow,
)
from headway.arrays import Float32, Int64
from headway.bundle import Backbone, TrainingRows, Variant
from headway.maths import (
    FeatureMap,
    Head,
    HeadInput,
    HeadKind,
    PairedLoss,
    Preprocessing,
    Statistics,
    calibrate_scale,
    fleet_head,
)
from headway.wire import PublishedHead, TrialReport
from testbed.shown_fleet import CLASSES, DAY_S, EVENTS_MAX

FEATURES, SAMPLE_ROWS, FIRST_HEAD, HEADS = 24, 300, 42, 8
CANARIES = 3
# of a bundle that is not kept any more
EARLIER = "e" * 64


def fill_steering(store: Store, state_dir: Path, bundle: Path, names: list[str], now_s: float, seed: int = 1) -> None:
    """Outside a transaction. bundle: where the one that is served is written; names: of the devices, sorted."""
    random = np.random.default_rng(seed)
    served = _bundle(14, "1.4.0")
    served.write(bundle)
    kept = [_kept(variant, state_dir, bundle.parent, now_s) for variant in (served, _bundle(15, "2.1.0"))]
    with store.transaction():
        rows = [row for row in (store.registry.get(name) for name in names) if row is not None]
        store.registry.put([replace(row, space=served.space, bundle="pump-sounds", release=14) for row in rows])
        _heads(store, served, names, now_s)
        # in the order of their times, which is that of the audit log
        _users(store, now_s)
        _halted_rollout(store, kept[1], names, now_s, random)
        _habits(store, names, now_s)
        _open_rollout(store, kept[1], names, now_s, random)
        _acts(store, names, now_s)
        _enrolment(store, names, now_s)


def _windows(count: int, drift: float, seed: int) -> tuple[Float32, Int64]:
    """Of six classes in 24 features; drift moves them away from where the model was trained."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    random.shuffle(labels)
    centres = 2.4 * np.eye(len(CLASSES), FEATURES)
    moved = np.roll(centres, 1, axis=1) * drift + centres * (1.0 - drift)
    x = moved[labels] + random.normal(0, 0.9, (count, FEATURES))
    return x.astype(np.float32), labels.astype(np.int64)


def _bundle(release: int, version: str) -> Variant:
    x, y = _windows(900, 0.0, 99)
    features = FeatureMap(FEATURES, calibrate_scale(x))
    codes, _ = features.codes(x)
    source = Statistics.of(codes, y, CLASSES, features.fingerprint("shown"))
    over_codes = fleet_head(source, Statistics.zeros(FEATURES, CLASSES, source.space))
    kernel = over_codes.kernel * (np.float32(127) / features.scale)[:, None]
    sampled, truth = _windows(SAMPLE_ROWS, 0.12, 7)
    return Variant(
        name="pump-sounds", version=version, release=release,
        backbones=(Backbone("backbone.tflite", "tflite", "float32", True, b"shown"),),
        head=Head(kernel, over_codes.bias, HeadKind.SOFTMAX, CLASSES, HeadInput.EMBEDDING),
        features=features, preprocessing=Preprocessing((FEATURES,), np.zeros(FEATURES, np.float32)),
        training_statistics=source, probe_inputs=x[:4], probe_embedding=x[:4],
        buffer=TrainingRows(features.codes(sampled)[0], labels=truth),
    )  # fmt: skip


def _kept(variant: Variant, state_dir: Path, folder: Path, now_s: float) -> DeliveryRow:
    file = folder / f"release-{variant.release}.hwb"
    variant.write(file)
    return shelve(file, state_dir, None, now_s - 9 * DAY_S)


def _heads(store: Store, served: Variant, names: list[str], now_s: float) -> None:
    """Versions of the last days, each with what more devices learned."""
    space = served.space
    store.rows(SPACES).put(SpaceRow(space, f"{served.name} {served.version}", now_s - 40 * DAY_S))
    for name in names[: 9 * len(names) // 10]:
        store.put_statistics(StoredStatistics(name, 7, 40, space, b"", 40))
    for number in range(HEADS):
        version, devices = FIRST_HEAD + number, max(3, len(names) * (number + 3) // (HEADS + 3))
        x, y = _windows(60 * (number + 1), 0.05 * number, number)
        learned = Statistics.of(served.features.codes(x)[0], y, CLASSES, space)
        head = PublishedHead(
            version, "exact", space, devices, 46 * devices, fleet_head(served.training_statistics, learned)
        )
        at_s = now_s - (HEADS - number - 0.6) * 0.9 * DAY_S
        store.put_head(StoredHead(version, "exact", space, head.encode(), at_s), 16)
        labels = 1200 + 310 * number
        right = int(labels * (0.861 + 0.008 * number)), int(labels * (0.823 - 0.003 * number))
        store.rows(HEAD_FIELD).put(HeadFieldRow(space, version, labels, *right))
        passed = {"head": version, "state": "passed", "why": "heads: paired loss -0.0312 +- 0.0104 of 12 canaries"}
        store.add_event(EventRow("_heads", "head-trial", json.dumps(passed), at_s), EVENTS_MAX)
    for place, name in enumerate(names[:200]):
        spans = [
            ("frozen", 40, 0.82, 0.82),
            ("exact", 120, 0.9, 0.81),
            ("fleet", 60, 0.88, 0.84),
            ("exact", 210, 0.93, 0.8),
        ]
        store.rows(HEAD_SPANS).put_all([
            HeadSpanRow(
                name, number, head, now_s - (30 - 7 * number) * DAY_S, labels + place % 7, int(labels * served_share),
                int(labels * frozen_share),
            )
            for number, (head, labels, served_share, frozen_share) in enumerate(spans[: 2 + place % 3], 1)
        ])  # fmt: skip


def _users(store: Store, now_s: float) -> None:
    ada = Operator(store, "local:root", now_s - 30 * DAY_S)
    for name, role in (("ada", Role.ADMIN), ("olga", Role.OPERATOR), ("vera", Role.VIEWER)):
        put_user(ada, name, role, None)


def _habits(store: Store, names: list[str], now_s: float) -> None:
    olga = Operator(store, "user:olga", now_s - 6 * DAY_S)
    create_token(Operator(store, "user:ada", now_s - 20 * DAY_S), "ada", "backup at night", Role.ADMIN, 90 * DAY_S)
    create_token(olga, "olga", "line balancing script", Role.OPERATOR, 30 * DAY_S)
    create_token(olga, "olga", "screen in the control room", Role.SHARE, 30 * DAY_S)
    save_group(olga, "losing", "recent_accuracy_gain < -2% and labels > 50")
    save_group(olga, "north", 'tag.site == "north"')
    change_list(olga, "pilot-plant", names[:CANARIES], [])
    set_rule(olga, "cold", {"devices": "temperature < 2"}, "critical", 600.0, True)
    set_rule(
        olga, "harbour-is-silent", {"devices": 'tag.site == "harbour" and silent_for > 30min'}, "warning", 0.0, True
    )


def _acts(store: Store, names: list[str], now_s: float) -> None:
    olga = Operator(store, "user:olga", now_s - 7000)
    silence_alerts(olga, SilenceWanted("disk", names[1], "", "8h", "the card is replaced this afternoon"))
    for at, (act, subject, detail) in enumerate(ACTS):
        told = {"class_name": detail} if act == "label" else {"reason": detail} if detail else {}
        record(store, "user:olga", act, subject.format(*names), now_s - 5000 + 400 * at, **told)


ACTS = (
    ("command", "{2}", ""), ("label", "{0}", "cavitation"), ("label", "{0}", "bearing"), ("note", "{4}", ""),
    ("quarantine", "{3}", "41,000 samples claimed in a day"), ("label", "{5}", "dry run"),
)  # fmt: skip


def _halted_rollout(
    store: Store, new: DeliveryRow, names: list[str], now_s: float, random: np.random.Generator
) -> None:  # fmt: skip
    olga = Operator(store, "user:olga", now_s - 21 * DAY_S)
    store.rows(ROLLOUTS).remove("autumn")
    begin_rollout(olga, "summer", _plan(names[-CANARIES:]), new)
    summer = store.rows(ROLLOUTS).get("summer")
    assert summer is not None
    why = "stage 1: labels say that the new bundle is worse than it may be"
    halted_s = now_s - 19 * DAY_S
    row = replace(summer, sha256=EARLIER, release=13, state="halted", version="2.0.0", why=why, state_since_s=halted_s)
    store.rows(ROLLOUTS).put(row)
    _try(store, "summer", names[-CANARIES:], 0, "trying", 0.13, random, EARLIER, now_s)
    _tell(store, "summer", (("running", "begun", now_s - 21 * DAY_S), ("halted", why, halted_s)))


def _open_rollout(
    store: Store, new: DeliveryRow, names: list[str], now_s: float, random: np.random.Generator
) -> None:  # fmt: skip
    """It waits for a person in its second stage."""
    begin_rollout(Operator(store, "user:olga", now_s - 2 * DAY_S), "autumn", _plan(names), new)
    autumn = store.rows(ROLLOUTS).get("autumn")
    assert autumn is not None
    quarter = names[: max(CANARIES + 1, len(names) // 4)]
    _try(store, "autumn", quarter[:CANARIES], 0, "there", -0.02, random, new.sha256, now_s)
    _try(store, "autumn", quarter[CANARIES:], 1, "trying", -0.02, random, new.sha256, now_s)
    stage = stage_evidence(store, autumn, store.rows(ROLLOUT_DEVICES).all("autumn"))[1]
    frozen, served = (judged(found, stage.criteria).why for found in (stage.frozen, stage.served))
    why = f"stage 2: frozen heads: {frozen}; served heads: {served}"
    store.rows(ROLLOUTS).put(replace(
        autumn, state="waits-for-approval", stage=1, phase="trial", why=why, state_since_s=now_s - 4000,
        phase_since_s=now_s - DAY_S,
    ))  # fmt: skip
    moments = (
        ("running", "begun", now_s - 2 * DAY_S), ("running", "stage 1 has soaked for a day", now_s - DAY_S),
        ("waits-for-approval", why, now_s - 4000),
    )  # fmt: skip
    _tell(store, "autumn", moments)


def _plan(names: list[str]) -> Plan:
    stages: list[dict[str, object]] = [
        {"devices": names[:CANARIES], "windows_min": 50, "devices_min": 2},
        {"share": 0.25, "approve": True, "windows_min": 200, "devices_min": 10},
        {"share": 1.0},
    ]
    return plan_of({"stages": stages})


def _try(
    store: Store, rollout: str, devices: list[str], stage: int, state: str, worse: float, random: np.random.Generator,
    sha256: str, now_s: float,
) -> None:  # fmt: skip
    for place, name in enumerate(devices):
        failed = stage > 0 and place == len(devices) - 1
        found = "failed" if failed else "ordered" if stage and place % 9 == 4 else state
        problem = "its self-test ended with signal 11 (SIGSEGV) after 2.1 s" if failed else ""
        store.rows(ROLLOUT_DEVICES).put(RolloutDeviceRow(rollout, name, stage, found, problem, now_s - 900))
        if found in ("trying", "there"):
            before = random.uniform(0, 1, 40)
            sums = PairedLoss.of(before + worse + 0.12 * random.normal(size=40), before)
            report = TrialReport(sha256, 3, "running", sums, sums, latency_old_ms=2.0, latency_new_ms=2.2)
            store.rows(TRIALS).put(TrialRow(name, report.encode(), now_s - 60))


def _tell(store: Store, rollout: str, moments: tuple[tuple[str, str, float], ...]) -> None:
    for state, why, at_s in moments:
        detail = json.dumps({"rollout": rollout, "state": state, "why": why})
        store.add_event(EventRow("_rollouts", "rollout", detail, at_s), EVENTS_MAX)


def _enrolment(store: Store, names: list[str], now_s: float) -> None:
    for number, name in enumerate(names[:12]):
        ends_s, over_s = now_s + (12 + 25 * number) * DAY_S, now_s - DAY_S if number == 5 else 0.0
        row = CertificateRow(
            f"{0x5E1 + number:032x}", name, "[]", "", f"{number:064x}", b"PEM", now_s - 80 * DAY_S, ends_s, over_s
        )
        store.rows(CERTIFICATES).put(row)
    store.rows(JOIN_CODES).put(JoinCodeRow("c" * 64, "", '["pilot-plant"]', 3, 20, now_s - DAY_S, now_s + 6 * DAY_S))
    store.rows(JOIN_CODES).put(JoinCodeRow("d" * 64, "pump-300", "[]", 1, 1, now_s - 3 * DAY_S, now_s - 2 * DAY_S))
