"""Labels that are probably wrong are told to people, once, and never dropped behind their backs."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.labels import RememberedWindows
from edge_agent.learner import Doubt, HeadLearner
from edge_agent.learner.doubts import DOUBTS_MAX, Doubts
from edge_agent.learner_settings import LearnerSettings
from edge_agent.sync import SyncState
from headway.errors import StoreError
from headway.wire import Event
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows

WRONG = (17, 40, 41)


def agent() -> Agent:
    learner = HeadLearner(variant(), LearnerSettings())
    return Agent("d", learner, SyncSettings(), SyncState(epoch=1), windows=RememberedWindows(500))


def labelled(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Windows, right labels, and those with typos."""
    x, right = windows(count, drift=0.2, seed=5)
    given = right.copy()
    given[list(WRONG)] = (given[list(WRONG)] + 1) % 3
    return x, right, given


def told(subject: Agent) -> list[Event]:
    return [event for event in subject.take_events(1.0) if event.name == "labels-doubted"]


def test_wrong_labels_are_found_told_once_and_withdrawn_when_corrected() -> None:
    subject = agent()
    x, right, given = labelled(60)
    features, ids = pipeline().features(x), [f"w{row}" for row in range(60)]
    subject.process(features, given, ids)
    (event,) = told(subject)
    assert event.detail["ids"] == [f"w{row}" for row in WRONG]
    assert event.detail["given"] == [CLASSES[given[row]] for row in WRONG]
    assert event.detail["instead"] == [CLASSES[right[row]] for row in WRONG]
    assert event.detail["numbers"] == list(WRONG)
    statistics = subject.learner.trainer.statistics
    assert statistics is not None
    assert statistics.samples == 60, "none is dropped"

    subject.label(["w40"], right[40:41])
    assert [doubt.number for doubt in subject.learner.doubts] == [17, 41]
    assert told(subject) == []
    subject.label(["w40"], (right[40:41] + 2) % 3)  # wrong once more
    (event,) = told(subject)
    assert event.detail["ids"] == ["w40"]


def test_labels_are_doubted_as_they_come_once_they_are_many() -> None:
    subject = agent()
    x, right, given = labelled(60)
    more, labels = windows(200, drift=0.3, seed=6)
    subject.process(pipeline().features(np.concatenate([more, x])), np.concatenate([labels, given]))
    numbers = [doubt.number for doubt in subject.learner.doubts]
    assert set(numbers) >= {200 + row for row in WRONG}
    (event,) = told(subject)
    assert event.detail["ids"] == [""] * len(numbers), "nobody named these windows"
    assert subject.learner.doubts[-1].instead == right[41]


def test_right_labels_are_seldom_doubted() -> None:
    subject = agent()
    x, right = windows(300, drift=0.3, seed=7)
    subject.process(pipeline().features(x), right)
    assert len(subject.learner.doubts) <= 3


def test_doubts_are_the_same_after_a_restart_and_after_the_journal() -> None:
    x, _, given = labelled(60)
    features = pipeline().features(x)
    subject = agent()
    subject.process(features.rows(0, 45), given[:45])
    restored = HeadLearner(variant(), LearnerSettings())
    restored.restore(subject.learner.encode())
    assert restored.doubts == subject.learner.doubts != []


def test_the_only_label_of_a_class_that_training_never_had_is_not_doubted() -> None:
    subject = agent()
    subject.add_class("jump")
    x, right = windows(30, drift=0.3, seed=5)
    right[20] = 3
    subject.process(pipeline().features(x), right)
    assert 20 not in [doubt.number for doubt in subject.learner.doubts]


def judged(share_wrong: float, *, classes: int = 2) -> Doubts:
    """A hundred labels, a share of which both heads give to another class, at odds of nine to one."""
    doubts, sure = Doubts(), np.log(np.full((1, classes), 0.1 / (classes - 1)))
    sure[0, 0] = np.log(0.9)
    for number in range(100):
        label = int(number % 10 < 10 * share_wrong)
        doubts.count([number], [label], sure, np.zeros((1, classes)))
        doubts.judge([number], [label], sure, np.zeros((1, classes)))
    return doubts


def test_the_more_labels_heads_disagree_with_the_less_improbable_must_a_doubted_one_be() -> None:
    assert judged(0.1).all == [], "one in ten at odds of nine to one is what heads expect themselves"
    assert len(judged(0.4).all) > 20


def test_nobody_is_doubted_while_there_are_hardly_labels() -> None:
    doubts, sure = Doubts(), np.log([[0.999, 0.001]])
    doubts.judge([0, 1, 2], [0, 0, 1], np.repeat(sure, 3, axis=0), np.repeat(sure, 3, axis=0))
    assert doubts.all == []
    doubts.judge([3], [1], sure, sure)
    assert [doubt.number for doubt in doubts.all] == [3]


def test_thresholds_are_the_same_after_a_restart() -> None:
    subject, restored = judged(0.3), Doubts()
    restored.restore(subject.state(), 2)
    row = np.log([[0.85, 0.15]])
    for each in (subject, restored):
        each.judge([100], [1], row, np.zeros((1, 2)))
    assert restored.all == subject.all
    assert Doubts().state()["judged"].shape == (0, 2)
    with pytest.raises(StoreError, match="judgements"):
        Doubts().restore({"judged": np.array([[1, 2]])}, 2)


def test_only_the_newest_doubts_are_kept() -> None:
    doubts = Doubts()
    count = DOUBTS_MAX + 10
    sure = np.log(np.tile([0.01, 0.99], (count, 1)))
    doubts.judge(range(count), [0] * count, sure, sure)
    assert [doubt.number for doubt in doubts.all] == list(range(10, count))
    assert doubts.all[0] == Doubt(10, 0, 1)
    doubts.judge([10], [0], np.log([[0.5, 0.5]]), np.log([[0.5, 0.5]]))
    assert doubts.all[0].number == 11, "no longer doubted"


@pytest.mark.parametrize(
    "rows", [np.zeros((1, 2), np.int64), np.zeros((1, 3)), np.array([[1, 0, 3]]), np.zeros((99, 3), np.int64)]
)
def test_damaged_doubts_are_refused(rows: np.ndarray) -> None:
    with pytest.raises(StoreError, match="doubts"):
        Doubts().restore({"doubts": rows}, 3)
