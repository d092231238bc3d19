"""Which heads are solved when, and what a class without a label is given."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from edge_agent.learner.exact.recipes import head_start
from edge_agent.learner.exact.settings import EARLY_LABELS, RECIPES, ExactSettings, Recipe
from edge_agent.learner.exact.trainer import ExactTrainer
from headway.errors import LocalError
from tests.edge_agent.test_exact import CLASSES, labelled, trainer

SETTINGS = ExactSettings()


def taught(count: int) -> ExactTrainer:
    learner = trainer()
    learner.learn(*labelled(count, seed=2))
    return learner


def names(learner: ExactTrainer) -> set[str]:
    return set(learner._served.ensemble.solved.heads)


def test_early_experts_are_given_up_once_labels_are_many() -> None:
    early = {recipe.name for recipe in RECIPES if recipe.labels_max == EARLY_LABELS}
    assert early == {"steady", "keen", "ridge"}
    assert early - names(taught(40)) == {"steady"}
    assert not early & names(taught(EARLY_LABELS + 200))


def test_labels_are_trusted_less_until_every_class_has_one() -> None:
    codes, labels = labelled(40, seed=2)
    learner = trainer()
    learner.learn(codes[labels != 2], labels[labels != 2])
    assert {"steady", "keen"} & names(learner) == {"steady"}
    third = np.flatnonzero(labels == 2)[:1]
    learner.learn(codes[third], labels[third])
    assert {"steady", "keen"} & names(learner) == {"keen"}
    learner.with_classes((*CLASSES, "new"))
    assert {"steady", "keen"} & names(learner) == {"steady"}


def test_an_expert_that_no_label_has_calibrated_is_as_sure_as_they_usually_are() -> None:
    assert SETTINGS.usual_temperature == 4.0
    assert ExactSettings(temperatures=(1.0,)).usual_temperature == 1.0
    assert set(trainer()._served.ensemble.solved.temperatures.values()) == {4.0}


def test_a_class_without_a_label_has_a_head_start_that_fades() -> None:
    nats, half = SETTINGS.unlabelled_nats, SETTINGS.unlabelled_labels
    assert head_start(np.array([3.0, 0.0, 5.0]), SETTINGS).tolist() == [0.0, nats / (1 + 8 / half), 0.0]
    assert head_start(np.array([0.0, float(half)]), SETTINGS).tolist() == [nats / 2, 0.0]
    np.testing.assert_array_equal(head_start(np.array([1.0, 1.0]), SETTINGS), 0)


def test_labels_of_two_classes_draw_fewer_windows_of_the_third() -> None:
    """The same labels with and without the head start: it moves no window from one labelled class to another."""
    codes, labels = labelled(24, seed=4, shift=25.0)
    learner, seen = trainer(), labels != 2
    learner.learn(codes[seen], labels[seen])
    head = learner.candidates()["exact"]
    windows = labelled(400, seed=5, shift=25.0)[0].astype(np.float32)
    logits = head.logits(windows)
    before = logits - np.array([0.0, 0.0, head_start(learner.statistics.counts.astype(float), SETTINGS)[2]], np.float32)
    moved = logits.argmax(axis=1) != before.argmax(axis=1)
    assert_array_equal(logits.argmax(axis=1)[moved], 2)


@pytest.mark.parametrize("recipes", [(), RECIPES[3:4], RECIPES[4:]])
def test_the_first_recipe_must_be_one_that_can_follow_every_label(recipes: tuple[Recipe, ...]) -> None:
    with pytest.raises(LocalError, match="first recipe"):
        ExactSettings(recipes=recipes)
