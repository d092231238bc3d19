"""Which heads are solved when, and what a class without a label is given."""

from __future__ import annotations

import numpy as np

from edge_agent.learner.exact.prior import Origin
from edge_agent.learner.exact.recipes import (
    EARLY_LABELS,
    RECIPES,
    UNLABELLED_LABELS,
    UNLABELLED_NATS,
    head_start,
    solve,
)
from edge_agent.learner.exact.trainer import ExactTrainer
from headway.maths.statistics import Statistics
from tests.edge_agent.test_exact import CLASSES, labelled, trainer


def taught(count: int) -> ExactTrainer:
    learner = trainer()
    learner.learn(*labelled(count, seed=2))
    return learner


def names(learner: ExactTrainer) -> set[str]:
    source = Statistics.of(*labelled(300, seed=1), CLASSES, "s")
    learner.candidates()
    return set(solve(Origin(source), learner._buckets, None, {}).heads)


def test_early_experts_are_given_up_once_labels_are_many() -> None:
    early = {name for name, recipe in RECIPES.items() if recipe.labels_max == EARLY_LABELS}
    assert early == {"steady", "ridge"}
    assert early <= names(taught(40))
    assert not early & names(taught(EARLY_LABELS + 200))


def test_a_class_without_a_label_has_a_head_start_that_fades() -> None:
    assert head_start(np.array([3.0, 0.0, 5.0])).tolist() == [0.0, UNLABELLED_NATS / (1 + 8 / UNLABELLED_LABELS), 0.0]
    assert head_start(np.array([0.0, float(UNLABELLED_LABELS)])).tolist() == [UNLABELLED_NATS / 2, 0.0]
    np.testing.assert_array_equal(head_start(np.array([1.0, 1.0])), 0)


def test_labels_of_two_classes_draw_fewer_windows_of_the_third() -> None:
    """The same labels with and without the head start: it moves no window from one labelled class to another."""
    codes, labels = labelled(24, seed=4, shift=25.0)
    learner, seen = trainer(), labels != 2
    learner.learn(codes[seen], labels[seen])
    head = learner.candidates()["exact"]
    windows = labelled(400, seed=5, shift=25.0)[0].astype(np.float32)
    logits = head.logits(windows)
    before = logits - np.array([0.0, 0.0, head_start(learner.local.counts.astype(float))[2]], np.float32)
    moved = logits.argmax(axis=1) != before.argmax(axis=1)
    np.testing.assert_array_equal(logits.argmax(axis=1)[moved], 2)
