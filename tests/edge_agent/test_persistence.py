"""How long classes last is learned and used where it pays, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from edge_agent.agent import Agent
from edge_agent.config import SyncSettings
from edge_agent.learner import HeadLearner, Prediction
from edge_agent.learner_settings import LearnerSettings
from edge_agent.persistence import Persistence, persistence_of
from edge_agent.persistence.states import WINDOWS_MAX, LastingStates
from edge_agent.pipeline import Features
from edge_agent.sync import SyncState
from headway.arrays import AnyArray, Float32, Int64
from headway.maths import Task
from tests.edge_agent.variants import pipeline, variant, windows

CLASSES = 4


def stream(rows: int, lasting: int, seed: int = 0) -> tuple[Float32, Int64]:
    """Probabilities of a head that is right on two windows of three, and classes that last `lasting` windows."""
    random = np.random.default_rng(seed)
    y = np.repeat(random.integers(0, CLASSES, rows // lasting + 1), lasting)[:rows]
    logits = random.normal(size=(rows, CLASSES)) * 1.5 + 2.2 * np.eye(CLASSES)[y]
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probability.astype(np.float32), y


def features(number: int) -> Features:
    return Features(np.zeros((1, 1), np.float32), np.array([[number]], np.int64).view(np.int8))


def answers(
    persistence: Persistence, probability: Float32, y: Int64, every: int = 1, late: int = 0
) -> tuple[AnyArray, AnyArray]:
    """Classes answered, and whether the filter served; each label comes `late` windows after its own."""
    said, serving = [], []
    for row in range(len(y)):
        served = persistence.serve(features(row), Prediction(probability[row : row + 1], "exact"))
        said.append(int(served.probability.argmax()))
        serving.append(persistence.serving)
        if row >= late and (row - late) % every == 0:
            persistence.labelled(features(row - late), int(y[row - late]))
    return np.array(said), np.array(serving)


@pytest.mark.parametrize(("every", "late"), [(1, 0), (10, 0), (5, 3)])
def test_classes_that_last_are_told_apart_better_than_by_single_windows(every: int, late: int) -> None:
    probability, y = stream(1500, lasting=40)
    said, serving = answers(LastingStates(), probability, y, every, late)
    alone = (probability.argmax(axis=1) == y)[750:].mean()
    assert (said == y)[750:].mean() > alone + 0.1
    assert serving[750:].all()


@pytest.mark.parametrize("seed", range(4))
def test_a_shuffled_stream_is_served_as_the_head_answers(seed: int) -> None:
    probability, y = stream(1500, lasting=1, seed=seed)
    said, serving = answers(LastingStates(), probability, y)
    # chance may begin it, and then the filter has learned that nothing lasts
    assert serving.mean() < 0.4
    assert (said == y).mean() >= (probability.argmax(axis=1) == y).mean() - 0.002


def test_it_ends_when_the_order_stops_to_mean_anything() -> None:
    lasting, of_lasting = stream(800, lasting=40)
    mixed, of_mixed = stream(1600, lasting=1, seed=1)
    probability, y = np.concatenate([lasting, mixed]), np.concatenate([of_lasting, of_mixed])
    _, serving = answers(LastingStates(), probability, y)
    assert serving[700:800].all()
    assert not serving[-800:].any()


def test_without_a_label_nothing_changes_what_is_served() -> None:
    probability, _ = stream(500, lasting=50)
    persistence = LastingStates()
    for row in range(len(probability)):
        served = Prediction(probability[row : row + 1], "exact")
        assert persistence.serve(features(row), served) is served


def test_other_tasks_and_switched_off_devices_are_served_as_they_are() -> None:
    probability, y = stream(400, lasting=50)
    for persistence in (persistence_of(Task.MULTI_LABEL, True), persistence_of(Task.CLASSIFICATION, False)):
        said, serving = answers(persistence, probability, y)
        assert not serving.any()
        np.testing.assert_array_equal(said, probability.argmax(axis=1))


def test_a_label_for_a_window_long_ago_or_of_an_unknown_class_tells_nothing() -> None:
    probability, y = stream(WINDOWS_MAX + 50, lasting=50)
    persistence = LastingStates()
    for row in range(len(y)):
        persistence.serve(features(row), Prediction(probability[row : row + 1], "exact"))
    persistence.labelled(features(3), int(y[3]))
    persistence.labelled(features(len(y) - 1), CLASSES)
    assert not persistence.serving


def test_a_new_class_begins_it_anew_and_values_that_are_not_finite_change_nothing() -> None:
    probability, y = stream(600, lasting=40)
    persistence = LastingStates()
    answers(persistence, probability, y)
    assert persistence.serving
    broken = persistence.serve(features(9000), Prediction(np.full((1, CLASSES), np.nan, np.float32), "exact"))
    assert np.isfinite(broken.probability).all()
    wider = Prediction(np.full((1, CLASSES + 1), 0.2, np.float32), "exact")
    assert persistence.serve(features(9001), wider) is wider


def test_what_is_learned_and_scored_is_the_head_s_own_answer() -> None:
    """The learner of a device that is restarted at every window, and so knows nothing of what lasts, is the same."""
    x, y = windows(240, seed=3)
    x, y = x[np.argsort(y, kind="stable")], np.sort(y)
    states, features_of = [], pipeline()
    for restarts in (False, True):
        learner = HeadLearner(variant(), LearnerSettings())
        agent = Agent("device", learner, SyncSettings(), SyncState(epoch=1))
        for row in range(len(y)):
            agent.process(features_of.features(x[row : row + 1]), y[row : row + 1])
            if restarts:
                agent = Agent("device", learner, SyncSettings(), SyncState(epoch=1))
        states.append(learner.encode())
    assert states[0] == states[1]
