"""What could wait for the operators of a shown fleet: questions of devices with sketches, alerts, a rollout."""

from __future__ import annotations

import json

import numpy as np

from aggregator.alerts import Severity
from aggregator.alerts import State as AlertState
from aggregator.rollouts import plan_of
from aggregator.store import Store
from aggregator.store.rows import (
    ALERTS,
    LABELS_WANTED,
    ROLLOUTS,
    SUPPORTED_COMMANDS,
    WANTED_LISTS,
    AlertRow,
    LabelsWantedRow,
    RolloutRow,
    SupportedCommandsRow,
    WantedListRow,
)
from edge_agent.labels.sketches import sketch_of
from headway.arrays import Float32
from headway.wire import LabelsWanted, NearestLabel, WantedLabel
from testbed.shown_fleet import CLASSES, SPACE

COMMANDS = (
    "sync-now",
    "train-now",
    "ask-for-labels",
    "label",
    "undo-label",
    "skip-window",
    "restart",
    "diagnostics",
    "forget-class",
)
SKETCH_BYTES = 256


def fill_inbox(store: Store, names: list[str], now_s: float, seed: int = 1) -> None:
    """Beside what `fill` wrote, outside a transaction: every fifth device asks, and a few alerts are open."""
    random = np.random.default_rng(seed)
    with store.transaction():
        for at, name in enumerate(names[::5]):
            windows = sorted(
                (_window(number, now_s, random, sketched=at % 3 != 2) for number in range(int(random.integers(1, 17)))),
                key=lambda window: window.margin,
            )
            told = LabelsWanted(CLASSES, tuple(windows))
            store.rows(WANTED_LISTS).put(WantedListRow(name, told.encode(), now_s - 60.0))
            since_s = now_s - float(random.uniform(60, 90_000))
            store.rows(LABELS_WANTED).put(LabelsWantedRow(name, len(windows), windows[0].margin, since_s))
            store.rows(SUPPORTED_COMMANDS).put(SupportedCommandsRow(name, json.dumps(COMMANDS)))
        for number, (rule, severity, summary) in enumerate(ALERTED, start=1):
            device = names[number % len(names)]
            opened_s = now_s - 700.0 * number**2
            store.rows(ALERTS).put(AlertRow(
                number, rule, device, str(severity), str(AlertState.OPEN), summary, opened_s, opened_s, 0.0, 0.0, True,
                "", "", 0.0,
            ))  # fmt: skip
        store.rows(ROLLOUTS).put(RolloutRow(
            "autumn", 1, PLAN.encode(), "0" * 64, 1 << 20, "pump-sounds", "2.1.0", 15, SPACE, "waits-for-approval", 1,
            "", "9 of 10 devices are better by 2.4 points (1.1 to 3.7)", now_s - 90_000, now_s - 4000, now_s - 4000,
        ))  # fmt: skip


ALERTED = (
    ("disk", Severity.CRITICAL, "disk_free 210 MB"),
    ("certificate-expires", Severity.WARNING, "its certificate expires on 2026-12-11 08:00 UTC"),
    ("quarantined", Severity.WARNING, "what it reported does not count: 41,000 samples claimed in a day"),
    ("drift", Severity.INFO, "since_drift 8 min"),
    ("below-frozen", Severity.WARNING, "accuracy_gain -3.1 %; scored 212"),
)


PLAN = plan_of({"stages": [{"share": 0.05}, {"share": 0.25, "approve": True}, {"share": 1.0}]})


def _window(number: int, now_s: float, random: np.random.Generator, sketched: bool) -> WantedLabel:
    logits = random.normal(size=len(CLASSES)) * 0.6
    shares = np.exp(logits) / np.exp(logits).sum()
    near = NearestLabel(f"w-{int(random.integers(1000, 4000))}", CLASSES[int(random.integers(len(CLASSES)))], 18.4)
    sketch = sketch_of(_signal(random), SKETCH_BYTES) if sketched else None
    probable = {name: round(float(share), 4) for name, share in zip(CLASSES, shares, strict=True)}
    return WantedLabel(f"w-{4000 + number}", round(now_s - 311.0 * number, 1), "exact", probable, near, sketch)


def _signal(random: np.random.Generator) -> Float32:
    """Three axes of something that turns, with knocks."""
    time = np.arange(400) / 400.0
    axes = [np.sin(2 * np.pi * random.uniform(3, 9) * time + at) * random.uniform(0.4, 1.2) for at in range(3)]
    window = np.stack(axes, axis=1) + random.normal(size=(400, 3)) * 0.12
    window[int(random.integers(50, 350)) :: 97] += random.uniform(0.5, 1.5)
    return window.astype(np.float32)
