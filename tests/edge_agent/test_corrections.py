"""A label that was wrong leaves no mark: corrected, the learner stands, to the bit, as it would without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from edge_agent.learner import HeadLearner
from edge_agent.learner.label_history import KEPT_LABELS, MOMENT_LABELS
from edge_agent.learner_settings import LearnerSettings
from edge_agent.pipeline import Features
from headway.class_changes import ClassChanges
from headway.errors import StoreError
from headway.maths import Statistics
from headway.tensors import decode_tensors
from headway.wire import FleetPrior
from tests.arrays import assert_same
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows
from tests.nightly import nightly

# what people were told of how often what was served was right stays as it was
EARNED_TENSORS, EARNED_VALUES = {"recent.rows"}, {"served", "frozen"}
Between = Callable[[HeadLearner, int], None]


def learner(kind: str = "exact") -> HeadLearner:
    return HeadLearner(variant(), LearnerSettings(kind=kind, batch_rows=4))


def stream(count: int, seed: int = 3) -> tuple[Features, list[int]]:
    """Windows that have moved; those after half of them once more, so that the error rises."""
    first, second = windows(count // 2, drift=0.3, seed=seed), windows(count - count // 2, drift=0.7, seed=seed + 1)
    x, y = np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
    return pipeline().features(x), [int(label) for label in y]


def nothing(subject: HeadLearner, number: int) -> None:
    """Between two labels nothing happens."""


def teach(
    subject: HeadLearner,
    features: Features,
    labels: list[int],
    corrections: Mapping[int, list[tuple[int, int, int | None]]] | None = None,
    between: Between = nothing,
    skip: int = -1,
) -> HeadLearner:
    """corrections: after so many labels, (number, before, after). What is served is the frozen head's answer."""
    frozen = subject.predict(features)
    for number, label in enumerate(labels):
        between(subject, number)
        if number != skip:
            served = replace(frozen, probability=frozen.probability[number : number + 1])
            subject.learn(features.rows(number, number + 1), label, served)
        for wrong, before, after in (corrections or {}).get(number + 1, []):
            subject.correct(wrong, features.rows(wrong, wrong + 1), before, after)
    return subject


def assert_same_state(one: HeadLearner, other: HeadLearner) -> None:
    (tensors, values), (expected, expected_values) = (
        decode_tensors(each.encode(), "saved learner", StoreError, 1 << 28) for each in (one, other)
    )
    assert set(tensors) == set(expected)
    for name in sorted(set(tensors) - EARNED_TENSORS):
        np.testing.assert_array_equal(tensors[name], expected[name], err_msg=name)
    assert isinstance(values, dict)
    assert isinstance(expected_values, dict)
    for name in values.keys() - EARNED_VALUES:
        assert values[name] == expected_values[name], name
    for name, head in one.trainer.candidates().items():
        assert_same(head.kernel, other.trainer.candidates()[name].kernel)
        assert_same(head.bias, other.trainer.candidates()[name].bias)


@pytest.mark.parametrize(
    ("count", "wrong", "known_at"),
    [
        (20, 0, 1),
        (60, 30, 31),
        (60, 7, 60),
        (KEPT_LABELS + 20, 100, KEPT_LABELS + 20),
        nightly(400, 300, 301),
        nightly(400, 400 - KEPT_LABELS, 400),
        (400, 5 * MOMENT_LABELS, 399),
    ],
)
def test_a_corrected_label_leaves_no_mark(count: int, wrong: int, known_at: int) -> None:
    features, right = stream(count)
    typo = [(label + 1) % 3 if number == wrong else label for number, label in enumerate(right)]
    corrected = teach(learner(), features, typo, {known_at: [(wrong, typo[wrong], right[wrong])]})
    assert_same_state(corrected, teach(learner(), features, right))


def test_many_wrong_labels_corrected_in_any_order_leave_no_mark() -> None:
    features, right = stream(150)
    random = np.random.default_rng(1)
    wrong = random.permutation(np.arange(40, 150))[:30].tolist()
    typos = [(label + 1) % 3 if number in wrong else label for number, label in enumerate(right)]
    corrections = [(number, typos[number], right[number]) for number in wrong]
    corrected = teach(learner(), features, typos, {150: corrections})
    assert_same_state(corrected, teach(learner(), features, right))


def test_a_restart_between_label_and_correction_changes_no_bit() -> None:
    features, right = stream(200)
    typo = [*right[:150], (right[150] + 1) % 3, *right[151:]]
    subject = teach(learner(), features, typo)
    restored = learner()
    restored.restore(subject.encode())
    assert restored.encode() == subject.encode()
    for each in (subject, restored):
        each.correct(150, features.rows(150, 151), typo[150], right[150])
    assert restored.encode() == subject.encode()
    assert_same_state(restored, teach(learner(), features, right))


def test_a_label_taken_back_leaves_what_never_had_it() -> None:
    features, right = stream(60)
    without = teach(learner(), features, right, skip=40)
    taken_back = teach(learner(), features, right, {41: [(40, right[40], None)]})
    for part in ("gate.exact", "gate.frozen", "frozen.logits", "trainer.evidence.codes", "drift.detector"):
        assert_same(_tensor(taken_back, part), _tensor(without, part), where=part)
    assert taken_back.serving == without.serving
    assert taken_back.trainer.statistics == without.trainer.statistics
    one, other = (each.trainer.candidates()["exact"] for each in (taken_back, without))
    assert_same(one.kernel, other.kernel)
    assert_same(one.bias, other.bias)
    assert taken_back.trainer.labels == 60, "later labels keep their numbers"
    # and once it is given again, under its number
    taken_back.correct(40, features.rows(40, 41), -1, right[40])
    assert_same_state(taken_back, teach(learner(), features, right))


def test_an_older_label_changes_the_tables_of_now_and_of_all_moments() -> None:
    features, right = stream(420)
    typo = [right[0], (right[1] + 1) % 3, *right[2:]]
    later = (419, (right[419] + 1) % 3, right[419])
    corrected = teach(learner(), features, [*typo[:-1], later[1]], {420: [(1, typo[1], right[1]), later]})
    expected = teach(learner(), features, right)
    assert corrected.trainer.statistics == expected.trainer.statistics
    assert 1 not in _tensor(corrected, "gate.label numbers").tolist()
    assert len(_tensor(corrected, "gate.exact")) == len(_tensor(expected, "gate.exact")) - 1
    assert len(_tensor(corrected, "frozen.labels")) == len(_tensor(expected, "frozen.labels")) - 1


@pytest.mark.parametrize("count", [50, 170])
def test_what_came_between_comes_at_its_place_again(count: int) -> None:
    """Class lists, other devices' tables, other names: the labels since are learned among them."""
    features, right = stream(count)
    codes = pipeline().features(windows(40, drift=0.5, seed=8)[0]).codes
    prior = Statistics.of(codes, windows(40, drift=0.5, seed=8)[1], CLASSES, variant().space)
    added = [3 if number % 7 == 0 and number > 20 else label for number, label in enumerate(right)]

    def between(subject: HeadLearner, number: int) -> None:
        if number == 20:
            subject.add_class("jump")
        if number == 25:
            assert subject.adopt_prior(FleetPrior(1, prior))
        if number == 45:
            subject.change_classes(ClassChanges(rename=(("jump", "hop"),)))

    wrong = 12 if count < KEPT_LABELS else count - 30
    typo = [(label + 1) % 3 if number == wrong else label for number, label in enumerate(added)]
    correction = {count: [(wrong, typo[wrong], added[wrong])]}
    corrected = teach(learner(), features, typo, correction, between)
    assert_same_state(corrected, teach(learner(), features, added, between=between))


def test_a_correction_names_a_class_that_came_later() -> None:
    features, right = stream(40)
    corrected = teach(learner(), features, right)
    corrected.add_class("jump")
    corrected.correct(30, features.rows(30, 31), right[30], 3)
    at_once = learner()

    def between(subject: HeadLearner, number: int) -> None:
        if number == 30:
            subject.add_class("jump")

    teach(at_once, features, [*right[:30], 3, *right[31:]], between=between)
    for part in ("gate.exact", "gate.frozen", "frozen.labels", "trainer.evidence.labels", "drift.detector"):
        assert_same(_tensor(corrected, part), _tensor(at_once, part), where=part)
    assert corrected.trainer.statistics == at_once.trainer.statistics


def test_descent_takes_no_step_back_but_its_scores_do() -> None:
    features, right = stream(60)
    wrong = (right[30] + 1) % 3
    typo = [*right[:30], wrong, *right[31:]]
    corrected = teach(learner("gradient"), features, typo, {60: [(30, wrong, right[30])]})
    plain, expected = teach(learner("gradient"), features, typo), teach(learner("gradient"), features, right)
    assert_same(_tensor(corrected, "gate.frozen"), _tensor(expected, "gate.frozen"))
    kept = np.arange(60) != 30
    assert_same(_tensor(corrected, "gate.gradient")[kept], _tensor(plain, "gate.gradient")[kept])
    assert_same(_tensor(corrected, "gate.gradient")[30], _tensor(expected, "gate.gradient")[30])


def test_a_choice_that_a_wrong_label_made_is_taken_back_and_told_once() -> None:
    features, right = stream(60)
    wrong = list(range(20, 60, 2))
    typos = [(label + 1) % 3 if number in wrong else label for number, label in enumerate(right)]
    subject = teach(learner(), features, typos)
    served = subject.serving
    subject.take_decisions()
    for number in wrong:
        subject.correct(number, features.rows(number, number + 1), typos[number], right[number])
    told = subject.take_decisions()
    assert subject.serving == teach(learner(), features, right).serving
    assert subject.serving != served
    assert [decision.kind for decision in told].count("correction") == len(told) == 1


def _tensor(subject: HeadLearner, name: str) -> np.ndarray:
    tensors, _ = decode_tensors(subject.encode(), "saved learner", StoreError, 1 << 28)
    return tensors[name]
