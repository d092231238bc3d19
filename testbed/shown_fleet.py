"""A fleet that looks like one, written into a store in a moment: for tests, screenshots and benchmarks of the page.

Everything in it is what devices and people could have sent: names, accuracies by day, problems, drift, tags, notes,
metrics of real predictions. The same seed gives the same fleet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from aggregator.registry.derived import typed_row
from aggregator.store import DeviceRow, EventRow, RegistryRow, Store, StoredHead
from aggregator.store.rows import (
    BY_HAND,
    DAYS,
    DEVICE,
    DEVICE_COMMANDS,
    EVERY_EPOCH,
    NOTE,
    PROPERTIES,
    QUARANTINED,
    SENT_SETTINGS,
    SETTINGS_STATES,
    SUPPORTED_COMMANDS,
    TAG,
    WANTED_SETTINGS,
    CommandRow,
    DayRow,
    PropertyRow,
    QuarantineRow,
    SentSettingsRow,
    SettingsStateRow,
    SupportedCommandsRow,
    WantedSettingsRow,
)
from headway.maths import ClassificationSums, Head, HeadInput, HeadKind
from headway.wire import ConfigurationState, Metrics, PublishedHead, Reported, SettingValue

DAY_S = 86_400.0
DAYS_MAX = 45
CLASSES = ("normal", "cavitation", "bearing", "leak", "blocked", "dry run")
SITES = ("north", "south", "harbour", "mill")
SPACE = "9f3a6c21d0b84e75"
EVENTS_MAX = 2000
# of each thousand devices so many have events: their order is kept one by one
EVENTS_OF = 100
# those of the commands below, so that the next one has a number of its own
COMMANDS_COUNTED = 100
# what operators want of some devices
WANTED = '{"sync.interval_s":300}'
COMMANDS = ("sync-now", "train-now", "ask-for-labels", "label", "restart", "diagnostics", "forget-class")


@dataclass(frozen=True, slots=True)
class Story:
    """What became of a device. gain: what learning brings in the end; drift_days: since its drift, 0 for none."""

    frozen: float
    gain: float
    labels_per_day: float
    drift_days: int
    offline_s: float
    problem: str
    paused: bool


def fill(store: Store, count: int, now_s: float, seed: int = 1) -> list[str]:
    """Write `count` devices into an empty store, outside a transaction. Returns their names."""
    random = np.random.default_rng(seed)
    names = [f"pump-{number:0{max(3, len(str(count)))}d}" for number in range(1, count + 1)]
    with store.transaction():
        store.put_head(_head(count, now_s), 4)
        store.put_number("device_commands", COMMANDS_COUNTED)
        for begin in range(0, count, 1000):
            _write(store, names[begin : begin + 1000], now_s, random)
    return names


def _write(store: Store, names: list[str], now_s: float, random: np.random.Generator) -> None:
    devices, typed, days, properties = [], [], [], []
    for name in names:
        story = _story(random)
        past = _days(name, story, now_s, random)
        device, row = _device(name, story, past, now_s, random)
        devices.append(device)
        typed.append(row)
        days.extend(past[:-1])
        properties.append(PropertyRow(name, TAG, "site", SITES[int(random.integers(len(SITES)))]))
        if random.random() < 0.05:
            properties.append(PropertyRow(name, NOTE, "", "housing cracked, replaced in May"))
        if story.problem == "set aside":
            store.rows(QUARANTINED).put(QuarantineRow(name, EVERY_EPOCH, f"{BY_HAND}: wrong sensor", now_s - 3 * DAY_S))
        if len(devices) <= EVENTS_OF:
            for event in _events(name, story, now_s, random):
                store.add_event(event, EVENTS_MAX)
    store.put_devices(devices)
    store.registry.put(typed)
    store.rows(DAYS).put_all(days)
    store.rows(PROPERTIES).put_all(properties)
    store.rows(SUPPORTED_COMMANDS).put_all([SupportedCommandsRow(name, json.dumps(COMMANDS)) for name in names])
    for number, name in enumerate(names[:20], 1):
        store.rows(DEVICE_COMMANDS).put_all([*_commands(name, number, now_s)])
        store.rows(SENT_SETTINGS).put(SentSettingsRow(name, 2, WANTED, now_s - 700))
        store.rows(WANTED_SETTINGS).put(WantedSettingsRow(DEVICE, name, WANTED, 0, number, now_s - 700))
        store.rows(SETTINGS_STATES).put(SettingsStateRow(name, _settings(), now_s - 600))


def _story(random: np.random.Generator) -> Story:
    chance = random.random()
    frozen = float(random.normal(0.82, 0.05))
    gain = float(random.normal(0.09, 0.05)) if chance > 0.08 else float(random.normal(-0.04, 0.02))
    drift = int(random.integers(1, 12)) if random.random() < 0.05 else 0
    offline = float(random.exponential(2 * DAY_S)) if random.random() < 0.06 else 0.0
    problem = ""
    if random.random() < 0.03:
        told = ("disk degraded: database or disk is full", "sensor silent for 3 h", "set aside")
        problem = told[int(random.integers(len(told)))]
    labels = float(random.gamma(2.0, 6.0)) if random.random() > 0.07 else 0.0
    return Story(min(frozen, 0.95), gain, labels, drift, offline, problem, random.random() < 0.04)


def _days(name: str, story: Story, now_s: float, random: np.random.Generator) -> list[DayRow]:
    """Of each day the labels, and how many of them both heads had right."""
    today, past = int(now_s // DAY_S), []
    for back in range(DAYS_MAX - 1, -1, -1):
        learned = 1.0 - np.exp(-(DAYS_MAX - back) / 12.0)
        worse = 0.14 if story.drift_days > 0 and back < story.drift_days else 0.0
        labels = int(random.poisson(story.labels_per_day)) if random.random() > 0.15 else 0
        frozen = np.clip(story.frozen - worse + random.normal(0, 0.02), 0.02, 0.99)
        served = np.clip(frozen + story.gain * learned - worse / 4, 0.02, 0.995)
        right = int(random.binomial(labels, served)), int(random.binomial(labels, frozen))
        past.append(DayRow(name, today - back, labels, *right, int(random.integers(18_000, 90_000))))
    return past


def _device(
    name: str, story: Story, past: list[DayRow], now_s: float, random: np.random.Generator
) -> tuple[DeviceRow, RegistryRow]:
    labels = sum(day.labels for day in past)
    problem = "" if story.problem == "set aside" else story.problem
    served, frozen = (
        _sums(right, labels, random) for right in (sum(d.served_right for d in past), sum(d.frozen_right for d in past))
    )
    reported = Reported(
        "pump-sounds", "1.4.0", SPACE, "exact", "ai-edge-litert 2.3.0", "0.2.0", "aarch64, Python 3.11", labels,
        "local" if story.gain > 0 else "frozen", problem, 14, "",
    )  # fmt: skip
    seen_s = now_s - (story.offline_s or float(random.uniform(1, 240)))
    row = DeviceRow(
        name, now_s - DAYS_MAX * DAY_S, seen_s, not story.offline_s, 3, 7, labels, 0, reported.encode(),
        Metrics(7, labels, served, frozen).encode(), 7, labels, len(CLASSES),
    )  # fmt: skip
    typed, last = typed_row(row), past[-1]
    served_recently, frozen_recently, gain_recently = _recent(past)
    return row, replace(
        typed,
        link_since_s=seen_s if story.offline_s else now_s - float(random.uniform(0.1, 20)) * DAY_S,
        health_since_s=now_s - float(random.uniform(0.01, 9)) * DAY_S,
        learning="paused" if story.paused else "on",
        learning_since_s=now_s - float(random.uniform(0.01, 30)) * DAY_S,
        drift_alarms=int(story.drift_days > 0),
        drift_s=now_s - story.drift_days * DAY_S + 0.4 * DAY_S if story.drift_days else None,
        disk_free_bytes=int(random.uniform(0.2, 24) * 1e9),
        memory_free_bytes=int(random.uniform(60, 700) * 1e6),
        temperature_c=round(float(random.normal(48, 6)), 1),
        bytes_per_day=float(np.mean([day.bytes for day in past[-7:]])),
        recent_weight=min(labels, 72.0),
        recent_served_accuracy=served_recently,
        recent_frozen_accuracy=frozen_recently,
        recent_accuracy_gain=gain_recently,
        day=last.day,
        day_labels=last.labels,
        day_served_right=last.served_right,
        day_frozen_right=last.frozen_right,
        day_bytes=last.bytes,
    )


def _recent(past: list[DayRow]) -> tuple[float | None, float | None, float | None]:
    """Served, frozen and their difference of the newest labels, as `aggregator.registry.derived` keeps them."""
    weight = served = frozen = 0.0
    for day in past:
        kept = 0.5 ** (day.labels / 50)
        served, frozen = kept * served + day.served_right, kept * frozen + day.frozen_right
        weight = kept * weight + day.labels
    return (served / weight, frozen / weight, (served - frozen) / weight) if weight else (None, None, None)


def _sums(right: int, labels: int, random: np.random.Generator) -> ClassificationSums:
    """Sums over predictions of which so many are right; the others go to a neighbour more often than elsewhere."""
    count = len(CLASSES)
    truth = random.choice(count, labels, p=np.array([0.5, 0.16, 0.12, 0.1, 0.07, 0.05]))
    predicted = truth.copy()
    wrong = random.permutation(labels)[: labels - right]
    predicted[wrong] = (truth[wrong] + 1 + (random.random(len(wrong)) < 0.25)) % count
    sure = random.uniform(0.45, 0.99, labels)
    probabilities = np.tile((1 - sure)[:, None] / (count - 1), (1, count)).astype(np.float32)
    probabilities[np.arange(labels), predicted] = sure
    return ClassificationSums.of(probabilities, truth)


def _events(name: str, story: Story, now_s: float, random: np.random.Generator) -> Iterator[EventRow]:
    if random.random() < 0.5:
        scores = {
            "frozen": {"weight": 38.2, "loss": 11.94}, "local": {"weight": 38.2, "loss": 6.31},
            "fleet": {"weight": 38.2, "loss": 8.02},
        }  # fmt: skip
        detail = {"before": "frozen", "after": "local", "by": "prequential", "scores": scores, "labels": 48}
        yield EventRow(name, "head-changed", json.dumps(detail), now_s - 20 * DAY_S)
    if story.drift_days:
        at_s = now_s - story.drift_days * DAY_S + 0.4 * DAY_S
        detail = {"by": "error", "before": 0.0731, "after": 0.2209, "since": 301, "label": 344, "labels": 344}
        yield EventRow(name, "drift", json.dumps(detail), at_s)
        yield EventRow(name, "labels-wanted", json.dumps({"ids": ["w-1841", "w-1850"], "labels": 344}), at_s + 2)


def _commands(name: str, number: int, now_s: float) -> Iterator[CommandRow]:
    result = json.dumps({"counter": 412, "acknowledged": 412})
    yield CommandRow(
        name, f"{number:016x}", 2 * number, "sync-now", "{}", "user:olga", now_s - 7200, now_s - 3600, "done", result,
        now_s - 7190,
    )  # fmt: skip
    asked_s = now_s - 40
    yield CommandRow(
        name, f"{number + 2**32:016x}", 2 * number + 1, "diagnostics", "{}", "user:olga", asked_s, now_s + 3560, "sent",
        "{}", asked_s + 1,
    )  # fmt: skip


def _head(devices: int, now_s: float) -> StoredHead:
    """The fleet's head, which tells the names of classes."""
    kernel = np.zeros((8, len(CLASSES)), np.float32)
    head = Head(kernel, np.zeros(len(CLASSES), np.float32), HeadKind.SOFTMAX, CLASSES, HeadInput.CODES)
    published = PublishedHead(41, "exact", SPACE, devices, 300 * devices, head)
    return StoredHead(41, "exact", SPACE, published.encode(), now_s - 900)


def _settings() -> bytes:
    values: dict[str, SettingValue] = {"sync.interval_s": 300, "policy.trigger": "drift", "learner.drift": "adwin"}
    return ConfigurationState(2, "applied", values, ("sync.interval_s",), {}, "").encode()
