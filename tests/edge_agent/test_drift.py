"""Drift by error: one alarm per drift, deterministic, and what it does to the learner."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels.remembered import RememberedWindows
from edge_agent.learner.drift.errors import COOL_DOWN_LABELS, Drift, ErrorDrift
from edge_agent.learner.exact.buckets import Buckets
from edge_agent.learner.exact.trainer import ExactTrainer
from edge_agent.learner.gradient.trainer import HURRIED_LABELS, HURRY, GradientTrainer
from edge_agent.learner.learner import HeadLearner
from edge_agent.learner_settings import LearnerSettings
from edge_agent.startup.restore import resume
from edge_agent.store import MemoryStore
from edge_agent.sync.history import SyncState
from headway.arrays import Float32, Int64
from headway.errors import StoreError
from headway.fields import Fields
from headway.maths.statistics import Statistics
from tests.arrays import assert_same
from tests.edge_agent.variants import SIZE, pipeline, variant, windows


def alarms(subject: ErrorDrift, rates: list[float], seed: int) -> list[Drift]:
    random = np.random.default_rng(seed)
    found = [subject.add(float(random.random() < rate), number) for number, rate in enumerate(rates)]
    return [drift for drift in found if drift is not None]


@pytest.mark.parametrize("kind", ["adwin", "page-hinkley"])
def test_one_alarm_per_drift_and_none_without(kind: str) -> None:
    after, false = [], 0
    for seed in range(10):
        found = alarms(ErrorDrift(kind), [0.1] * 1000 + [0.5] * 500, seed)
        false += sum(drift.label < 1000 for drift in found)
        after.append(sum(drift.label >= 1000 for drift in found))
    assert false == 0
    assert min(after) >= 1
    assert sum(after) <= 11


def test_a_small_rise_is_no_reason_to_forget() -> None:
    assert not alarms(ErrorDrift("adwin"), [0.01] * 4000 + [0.04] * 4000, 0)


def test_a_second_drift_soon_after_the_first_waits_for_the_cool_down() -> None:
    found = alarms(ErrorDrift("adwin"), [0.0] * 500 + [0.4] * 100 + [1.0] * 200, 1)
    assert all(b.label - a.label >= COOL_DOWN_LABELS for a, b in pairwise(found))


def test_off_never_alarms() -> None:
    assert not alarms(ErrorDrift("off"), [0.0] * 500 + [1.0] * 500, 0)


def moved(count: int, seed: int) -> tuple[Float32, Int64]:
    """The classes' places have changed hands: what was right about them is wrong now."""
    x, y = windows(count, seed=seed)
    return x, (y + 1) % 3


def agent(store: MemoryStore | None = None, **settings: object) -> Agent:
    learner = LearnerSettings(**settings)  # type: ignore[arg-type]
    remembered = RememberedWindows(learner.horizon_rows)
    subject = Agent("device-1", HeadLearner(variant(), learner), SyncSettings(), SyncState(epoch=7), windows=remembered)
    if store is not None:
        resume(subject, store)
    return subject


def accuracy_after(drift: str) -> tuple[float, Agent]:
    subject = agent(drift=drift)
    x, y = windows(300, seed=1)
    subject.process(pipeline().features(x), y)
    x, y = moved(200, 2)
    answer = subject.process(pipeline().features(x), y)
    return float((answer.prediction == y)[60:].mean()), subject


def test_after_an_alarm_the_learner_follows_what_it_would_have_averaged_away() -> None:
    without, _ = accuracy_after("off")
    with_alarm, subject = accuracy_after("adwin")
    assert with_alarm > 0.9
    assert without < 0.5
    events = subject.take_events(5.0)
    (drift,) = [event for event in events if event.name == "drift" and event.detail["by"] == "error"]
    since = drift.detail["since"]
    assert isinstance(since, int)
    assert abs(since - 300) <= 16


def test_after_an_alarm_the_gradient_learner_is_quicker_too() -> None:
    right = {}
    for drift in ("off", "adwin"):
        scores = []
        for seed in range(3):
            subject = agent(drift=drift, kind="gradient", seed=seed)
            x, y = windows(600, seed=10 + seed)
            subject.process(pipeline().features(x), y)
            x, y = moved(150, 20 + seed)
            scores.append((subject.process(pipeline().features(x), y).prediction == y).mean())
        right[drift] = float(np.mean(scores))
    assert right["adwin"] > right["off"] + 0.02, right


def test_for_a_while_after_drift_it_takes_more_steps_at_the_first_rate() -> None:
    settings = LearnerSettings(kind="gradient", steps_per_label=3, learning_rate_decay=0.1)
    subject = GradientTrainer(variant(), settings)
    x, y = windows(HURRIED_LABELS + 20, seed=1)
    codes, _ = variant().features.codes(x)
    subject.learn(codes[:10], y[:10])
    assert subject._descent.steps == 30
    first = subject._descent.settings.learning_rate
    assert subject._descent.learning_rate == pytest.approx(first / 4)
    subject.drifted(5)
    assert subject._descent.learning_rate == first
    subject.learn(codes[10 : 10 + HURRIED_LABELS], y[10 : 10 + HURRIED_LABELS])
    assert subject._descent.steps == HURRY * 3 * HURRIED_LABELS
    subject.learn(codes[-10:], y[-10:])
    assert subject._descent.steps == HURRY * 3 * HURRIED_LABELS + 30


@pytest.mark.parametrize("kind", ["exact", "gradient"])
def test_a_restart_comes_to_the_same_alarm_and_bits(kind: str) -> None:
    store = MemoryStore()
    subject = agent(kind=kind)
    store.commit(subject.changes())
    x, y = windows(300, seed=1)
    x2, y2 = moved(80, 2)
    features, labels = pipeline().features(np.concatenate([x, x2])), np.concatenate([y, y2])
    for start in range(0, len(labels), 10):
        subject.process(features.rows(start, start + 10), labels[start : start + 10])
        subject.event_log.record(1.0)
        store.commit(subject.changes())
    again = agent(store, kind=kind)
    assert again.learner.encode() == subject.learner.encode()
    assert [e.name for e in again.take_events(2.0)] == []
    names = [record["name"] for record in again.event_log.records if isinstance(record, dict)]
    assert names.count("drift") >= 1
    x3, y3 = moved(100, 3)
    for one in (subject, again):
        one.process(pipeline().features(x3), y3)
    assert again.learner.encode() == subject.learner.encode()


def test_on_an_alarm_labels_are_asked_for_the_least_certain_windows_once() -> None:
    subject = agent(wanted_labels_max=3)
    x, y = windows(300, seed=1)
    subject.process(pipeline().features(x), y)
    unlabelled, _ = windows(40, seed=9)
    unlabelled[5] = 0.0
    subject.process(pipeline().features(unlabelled), None, [f"w{i}" for i in range(40)])
    x, y = moved(60, 2)
    subject.process(pipeline().features(x), y)
    (wanted,) = [event for event in subject.take_events(5.0) if event.name == "labels-wanted"]
    ids = wanted.detail["ids"]
    assert isinstance(ids, list)
    assert len(ids) == 3
    assert "w5" in ids
    assert not set(subject.labelling.wanted.choice.ranked(frozenset(map(str, ids)))) & set(ids)


def test_buckets_divide_to_the_bit_and_keep_the_border() -> None:
    source = variant().training_statistics
    x, y = windows(1200, seed=4)
    codes, _ = variant().features.codes(x)
    empty = Statistics.zeros(SIZE, source.classes, source.space)
    subject = Buckets(empty, 64, 12)
    for row in range(300):
        subject.add(codes[row : row + 1], y[row : row + 1])
    before = subject.total
    assert subject.begin_at(275, codes[200:300], y[200:300]) == 275
    assert subject.total == before
    assert subject.recent(25).statistics(source.space) == Statistics.of(
        codes[275:300], y[275:300], source.classes, source.space
    )
    for row in range(300, 1200):
        subject.add(codes[row : row + 1], y[row : row + 1])
    assert subject.recent(925).statistics(source.space) == Statistics.of(
        codes[275:], y[275:], source.classes, source.space
    )
    assert len(subject) <= 12


def test_without_the_rows_the_border_is_where_the_next_bucket_begins() -> None:
    source = variant().training_statistics
    x, y = windows(300, seed=4)
    codes, _ = variant().features.codes(x)
    subject = Buckets(Statistics.zeros(SIZE, source.classes, source.space), 64, 12)
    for row in range(300):
        subject.add(codes[row : row + 1], y[row : row + 1])
    assert subject.begin_at(100, codes[290:], y[290:]) == 128


def test_windows_since_a_drift_wait_for_the_classes_of_before() -> None:
    subject = ExactTrainer(variant().training_statistics)
    x, y = windows(400, seed=4)
    codes, _ = variant().features.codes(x)
    subject.learn(codes[:300], y[:300])
    one = np.flatnonzero(y[300:] == 0)[:20] + 300
    subject.learn(codes[one], y[one])
    subject.drifted(300)
    assert "since-drift" not in subject._served.ensemble.solved.heads, "of one class alone"
    saved = ExactTrainer(variant().training_statistics)
    tensors, values = subject.state()
    saved.restore(tensors, Fields(values, "state", StoreError))
    for trainer in (subject, saved):
        trainer.learn(codes[340:380], y[340:380])
        assert "since-drift" in trainer._served.ensemble.solved.heads
    one_head, other = (trainer.candidates()["exact"] for trainer in (subject, saved))
    assert_same(one_head.kernel, other.kernel)


def test_drift_while_labels_are_few() -> None:
    subject = ExactTrainer(variant().training_statistics)
    x, y = windows(60, seed=4)
    codes, _ = variant().features.codes(x)
    for row in range(60):
        subject.learn(codes[row : row + 1], y[row : row + 1])
        if row == 45:
            subject.drifted(30)
    assert len(subject.leave_one_out()["exact"]) == 30
