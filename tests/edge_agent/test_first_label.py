"""One label of each class is heard: what a head learned from it counts at the gate, though no other label judges it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from edge_agent.learner import HeadLearner
from edge_agent.learner.exact import ExactSettings, ExactTrainer
from edge_agent.learner.exact.left_in import left_in_share
from edge_agent.learner.gate import FROZEN
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from tests.edge_agent.test_exact import labelled, trainer
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows

SETTINGS = ExactSettings()
ONLY_LEFT_OUT = replace(SETTINGS, left_in_labels=0.0)
ALL_TRAINED = np.ones(3, bool)


# every class sits a little nearer to where training saw the next one than to where it saw itself
MOVED = 0.6


def one_of_each(drift: float, seed: int = 5) -> tuple[Features, np.ndarray]:
    """A window of each class, in the order of the classes."""
    x, y = windows(30, drift=drift, seed=seed)
    first = np.array([np.flatnonzero(y == label)[0] for label in range(len(CLASSES))])
    return pipeline().features(x[first]), y[first]


def taught_with_a_new_class(settings: ExactSettings = SETTINGS, drift: float = MOVED) -> HeadLearner:
    """One label of each class where the sensor has moved, and one of a class that the model does not know."""
    subject = HeadLearner(variant(), LearnerSettings(), settings)
    subject.add_class("jump")
    rows, labels = one_of_each(drift)
    new = pipeline().features(np.full((1, 8), -3.0, np.float32))
    for window, label in [*((rows.rows(i, i + 1), int(labels[i])) for i in range(3)), (new, 3)]:
        subject.learn(window, label, subject.predict(window))
    return subject


def test_one_label_of_every_class_is_enough_to_leave_a_frozen_head_that_is_wrong() -> None:
    subject = taught_with_a_new_class()
    x, truth = windows(300, drift=MOVED, seed=5)
    tested = pipeline().features(x)
    served = subject.predict(tested)
    assert served.served_by != FROZEN
    frozen = HeadLearner(variant(), LearnerSettings()).predict(tested)
    assert (served.classes == truth).mean() > (frozen.classes == truth).mean() + 0.3
    assert taught_with_a_new_class(ONLY_LEFT_OUT).serving == FROZEN, "this is what the loss left in is for"


def test_a_class_that_training_never_had_is_named_after_one_label() -> None:
    subject = taught_with_a_new_class(drift=0.0)
    new = pipeline().features(np.full((1, 8), -2.5, np.float32))
    assert subject.predict(new).classes.tolist() == [3]


def test_where_nothing_moved_one_label_of_every_class_leaves_the_frozen_head_in_service() -> None:
    subject = HeadLearner(variant(), LearnerSettings())
    for seed in (3, 4):
        rows, labels = one_of_each(0.0, seed)
        for row in range(3):
            window = rows.rows(row, row + 1)
            subject.learn(window, int(labels[row]), subject.predict(window))
            assert subject.serving == FROZEN


def test_a_row_left_in_counts_less_with_every_label_of_its_class() -> None:
    counts = np.array([1, 3, 12])
    shares = left_in_share(np.array([0, 1, 2]), counts, ALL_TRAINED, SETTINGS)
    assert_allclose(shares, SETTINGS.left_in_labels / (SETTINGS.left_in_labels + counts))


def test_it_counts_less_while_classes_lack_labels_unless_training_never_had_its_class() -> None:
    labels, counts = np.array([0, 2]), np.array([1, 0, 1])
    shares = left_in_share(labels, counts, np.array([True, True, False]), SETTINGS)
    whole = SETTINGS.left_in_labels / (SETTINGS.left_in_labels + 1)
    assert_allclose(shares, [whole * (2 / 3) ** 2, whole])


def test_losses_lie_between_those_of_heads_with_and_without_the_row() -> None:
    codes, labels = np.random.default_rng(5).integers(-90, 91, (6, 12)).astype(np.int8), np.arange(6) % 3
    found = []
    for most in (0.0, SETTINGS.left_in_labels, 1e12):
        learner = trainer(replace(SETTINGS, left_in_labels=most, few_rate=0.0))
        learner.learn(codes, labels)
        found.append(learner.leave_one_out()["exact"])
    left_out, between, left_in = found
    assert (left_in < left_out - 0.1).any()
    assert (np.minimum(left_out, left_in) <= between + 1e-9).all()
    assert (between <= np.maximum(left_out, left_in) + 1e-9).all()


@pytest.mark.parametrize("labels", [1, 4])
def test_the_only_sample_of_a_new_class_says_nothing_of_temperature(labels: int) -> None:
    """Without it nothing is left of its class, and of all temperatures the highest would hide that best."""

    def temperatures(learner: ExactTrainer) -> dict[str, float]:
        return dict(learner._served.ensemble.solved.temperatures)

    codes, truth = labelled(labels, seed=2)
    learner = trainer()
    learner.learn(codes, truth)
    before = temperatures(learner)
    learner.with_classes(("a", "b", "c", "new"))
    learner.learn(np.full((1, codes.shape[1]), -90, np.int8), np.array([3]))
    after = temperatures(learner)
    assert max(after.values()) < max(SETTINGS.temperatures)
    assert_allclose(np.log2(after["quick"]), np.log2(before["quick"]), atol=1.5)


def test_the_same_labels_in_another_order_are_heard_alike() -> None:
    codes, labels = labelled(9, seed=2, shift=20.0)
    one, other = trainer(), trainer()
    one.learn(codes, labels)
    other.learn(codes[::-1], labels[::-1])
    assert_allclose(one.leave_one_out()["exact"], other.leave_one_out()["exact"][::-1], rtol=1e-6, atol=1e-9)
    assert_array_equal(one.statistics.gram, other.statistics.gram)
