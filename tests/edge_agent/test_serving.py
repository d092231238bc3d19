"""What is served: as sure as it has proved right, and the frozen head's where nobody labelled; answers stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_agent.labels.remembered import Window
from edge_agent.learner import HeadLearner, LearnLabel, Prediction
from edge_agent.learner.gate import FROZEN
from edge_agent.learner.gate.frozen_score import FrozenScore
from edge_agent.learner.serving import ServedTemperatures, beside, tempered, with_missed
from edge_agent.learner_settings import LearnerSettings
from edge_agent.store.journal import Entry
from headway.arrays import Float32, Int64
from headway.class_changes import ClassChanges
from headway.errors import StoreError
from headway.maths import ClassificationSums, Task, softmax
from headway.tensors import encode_tensors
from tests.edge_agent.variants import CLASSES, pipeline, variant, windows

NONE_ADDED = np.zeros(3, bool)


def probabilities(*rows: list[float]) -> Float32:
    return np.array(rows, np.float32)


def stream(count: int, sharpness: float, seed: int = 0) -> tuple[Float32, Int64]:
    """Probabilities that are right as often as they say where `sharpness` is 1, and labels drawn by them."""
    random = np.random.default_rng(seed)
    logits = random.normal(0.0, 2.0, (count, 4))
    p = softmax(logits.astype(np.float32))
    labels = np.array([random.choice(4, p=row / row.sum()) for row in p.astype(np.float64)])
    return softmax((sharpness * logits).astype(np.float32)), labels


def ece(probability: Float32, labels: Int64) -> float:
    return ClassificationSums.of(probability, labels).ece


def served(subject: ServedTemperatures, given: Float32, labels: Int64, delay: int = 0) -> Float32:
    """Each row is served, and gets its label `delay` rows later."""
    answered = []
    for row in range(len(given) + delay):
        if row < len(given):
            answered.append(subject.prediction(given[row : row + 1], "exact"))
        if row >= delay:
            subject.learn(row - delay, answered[row - delay], int(labels[row - delay]))
    return np.concatenate([one.probability for one in answered])


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0, 32.0])
def test_a_temperature_changes_no_answer(temperature: float) -> None:
    given, _ = stream(500, 3.0)
    given[0] = [0.25, np.nextafter(np.float32(0.25), np.float32(1)), 0.25, 0.25]
    given[1] = [0.0, 1.0, 0.0, 0.0]
    classes = tempered(given, temperature, Task.CLASSIFICATION)
    assert (classes.argmax(axis=1) == given.argmax(axis=1)).all()
    assert np.allclose(classes.sum(axis=1), 1.0, atol=1e-5)
    given[0, 0] = np.nextafter(np.float32(0.5), np.float32(0))
    labels = tempered(given, temperature, Task.MULTI_LABEL)
    assert ((labels >= 0.5) == (given >= 0.5)).all()
    assert tempered(given, temperature, Task.REGRESSION) is given


def test_a_temperature_is_that_of_the_logits() -> None:
    logits = np.random.default_rng(1).normal(0, 3, (50, 5)).astype(np.float32)
    found = tempered(softmax(logits), 2.5, Task.CLASSIFICATION)
    assert np.allclose(found, softmax(logits / np.float32(2.5)), atol=1e-6)


@pytest.mark.parametrize("delay", [0, 300])
@pytest.mark.parametrize("sharpness", [0.5, 1.0, 4.0])
def test_what_was_served_before_its_label_came_makes_it_calibrated(sharpness: float, delay: int) -> None:
    given, labels = stream(1200, sharpness)
    found = served(ServedTemperatures(Task.CLASSIFICATION), given, labels, delay)
    settled = slice(600, None)
    assert ece(found[settled], labels[settled]) < 0.07
    if sharpness != 1.0:
        assert ece(given[settled], labels[settled]) > 0.1
    assert (found.argmax(axis=1) == given.argmax(axis=1)).all()


def test_several_labels_per_window_are_calibrated_too() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(0, 1.5, (400, 3))
    truth = (random.random((400, 3)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    truth[::5, 1] = np.nan
    subject = ServedTemperatures(Task.MULTI_LABEL)
    for row in range(400):
        given = (1 / (1 + np.exp(-4 * logits[row : row + 1]))).astype(np.float32)
        subject.learn(row, subject.prediction(given, "gradient"), truth[row])
    assert 3.0 < subject.prediction(given, "gradient").temperature < 5.5


def test_a_corrected_label_leaves_no_mark() -> None:
    given, labels = stream(120, 3.0)
    wrong = labels.copy()
    wrong[50] = (labels[50] + 1) % 4

    def learned(truth: Int64) -> ServedTemperatures:
        subject = ServedTemperatures(Task.CLASSIFICATION)
        for row in range(120):
            subject.learn(row, Prediction(given[row : row + 1], "exact", 2.0), int(truth[row]))
        return subject

    right, corrected = learned(labels), learned(wrong)
    assert bits(right) != bits(corrected)
    corrected.correct(50, int(labels[50]))
    assert bits(right) == bits(corrected)
    corrected.correct(50, None)
    without = ServedTemperatures(Task.CLASSIFICATION)
    for row in (*range(50), *range(51, 120)):
        without.learn(row, Prediction(given[row : row + 1], "exact", 2.0), int(labels[row]))
    assert bits(without) == bits(corrected)


def bits(subject: ServedTemperatures) -> bytes:
    return encode_tensors(subject.state())


def test_a_temperature_goes_on_where_it_was_saved() -> None:
    given, labels = stream(400, 3.0)
    subject, restored = ServedTemperatures(Task.CLASSIFICATION), ServedTemperatures(Task.CLASSIFICATION)
    served(subject, given[:300], labels[:300])
    restored.restore(subject.state())
    assert bits(restored) == bits(subject)
    assert (served(restored, given[300:], labels[300:]) == served(subject, given[300:], labels[300:])).all()
    damaged = subject.state() | {"exact.losses": np.zeros((2, 3))}
    with pytest.raises(StoreError, match="'exact' served are damaged"):
        restored.restore(damaged)


def test_the_frozen_head_decides_on_what_nobody_labelled_unless_the_other_is_surer_by_half() -> None:
    unlabelled = np.array([False, True, True])
    frozen = probabilities([0.2, 0.6, 0.2], [0.2, 0.6, 0.2], [0.8, 0.1, 0.1])
    learned = probabilities([0.7, 0.2, 0.1], [0.0, 0.0, 1.0], [0.3, 0.7, 0.0])
    found = beside(learned, frozen, 0.0, unlabelled, NONE_ADDED)
    assert np.allclose(found.sum(axis=1), 1.0)
    assert np.allclose(found[0], 0.4 * learned[0] + 0.6 * frozen[0])
    assert found.argmax(axis=1).tolist() == [1, 2, 0]
    # the frozen head names a class that has labels: it counts for the share of those that have none
    assert np.allclose(found[2], learned[2] + (frozen[2] - learned[2]) * 0.4)


def test_the_frozen_head_has_its_share_of_every_answer_and_the_surer_of_two_heads_decides() -> None:
    all_labelled = np.zeros(3, bool)
    learned, frozen = probabilities([0.5, 0.45, 0.05], [0.98, 0.01, 0.01]), probabilities([0.1, 0.8, 0.1])
    found = beside(learned, np.repeat(frozen, 2, axis=0), 0.25, all_labelled, NONE_ADDED)
    assert np.allclose(found.sum(axis=1), 1.0)
    assert np.allclose(np.log(found[0, 1] / found[0, 0]), 0.75 * np.log(0.45 / 0.5) + 0.25 * np.log(8.0))
    assert found.argmax(axis=1).tolist() == [1, 0]
    assert beside(learned, frozen, 0.0, all_labelled, NONE_ADDED) is learned


def test_a_class_that_is_never_predicted_gets_nothing_from_either_head() -> None:
    learned, frozen = probabilities([0.0, 0.4, 0.6]), probabilities([0.0, 1.0, 0.0])
    found = beside(learned, frozen, 0.2, np.zeros(3, bool), np.array([False, False, True]))
    assert found[0, 0] == 0.0
    assert np.isfinite(found).all()


def test_of_an_added_class_the_frozen_head_says_what_the_learned_one_says() -> None:
    added, unlabelled = np.array([False, False, True]), np.array([False, True, False])
    found = beside(probabilities([0.1, 0.0, 0.9]), probabilities([0.3, 0.7, 0.0]), 0.0, unlabelled, added)
    assert found.argmax() == 2
    assert found[0, 2] == pytest.approx(0.9)


def test_the_fewer_classes_have_a_label_the_less_sure_is_what_is_served() -> None:
    subject, given = ServedTemperatures(Task.CLASSIFICATION), probabilities([0.7, 0.2, 0.1])
    of_all, of_some = subject.prediction(given, "exact"), subject.prediction(given, "exact", unlabelled=0.5)
    assert of_all.temperature == 1.0
    assert of_some.temperature == pytest.approx(2.0**0.25)
    assert of_some.probability.max() < of_all.probability.max()


def test_labels_of_some_classes_hardly_make_the_frozen_head_surer_of_the_others() -> None:
    sure = np.array([[3.0, 0.0, 0.0]], np.float32)
    of_one, of_every = FrozenScore(3, 512), FrozenScore(3, 512)
    for row in range(12):
        of_one.add(sure, 0)
        of_every.add(np.roll(sure, row % 3, axis=1), row % 3)
    assert of_one.calibration.judged == of_every.calibration.judged
    assert of_one.calibration.temperature > of_every.calibration.temperature


def test_classes_that_the_frozen_head_cannot_name_make_it_less_sure_and_change_no_answer() -> None:
    added = np.array([False, False, True, True])
    frozen = probabilities([0.9, 0.1, 0, 0], [0.5, 0.5, 0, 0])
    found = with_missed(frozen, 0.4, added)
    assert np.allclose(found[0], [0.54, 0.06, 0.2, 0.2])
    assert np.allclose(with_missed(frozen, 0.99, added).sum(axis=1), 1.0)
    assert with_missed(frozen, 0.99, added).argmax(axis=1).tolist() == [0, 0]
    assert with_missed(frozen, 0.4, np.zeros(4, bool)) is frozen


def taught(kind: str, labels_of: tuple[int, ...], count: int = 90, drift: float = 0.4) -> HeadLearner:
    learner = HeadLearner(variant(), LearnerSettings(kind=kind))
    x, y = windows(count, drift=drift, seed=6)
    features = pipeline().features(x)
    for row, label in enumerate(y.tolist()):
        if label in labels_of:
            window = features.rows(row, row + 1)
            learner.learn(window, label, learner.predict(window))
    return learner


@pytest.mark.parametrize("kind", ["exact", "gradient"])
@pytest.mark.parametrize("labels_of", [(0, 1, 2), (0, 1)])
def test_a_learner_serves_the_same_bits_after_a_restart(kind: str, labels_of: tuple[int, ...]) -> None:
    learner = taught(kind, labels_of)
    learner.add_class("new")
    learner.change_classes(ClassChanges(remove=(CLASSES[2],)))
    other = HeadLearner(variant(), LearnerSettings(kind=kind))
    other.restore(learner.encode())
    tested = pipeline().features(windows(60, drift=0.4, seed=9)[0])
    before, after = learner.predict(tested), other.predict(tested)
    assert (before.probability == after.probability).all()
    assert before.temperature == after.temperature
    assert (before.probability[:, 2] == 0.0).all()
    assert other.encode() == learner.encode()


def test_while_the_frozen_head_serves_it_is_as_sure_as_it_is_right() -> None:
    x, y = windows(400, drift=0.6, seed=4)
    features = pipeline().features(x)
    learner = HeadLearner(variant(), LearnerSettings(gate_margin=100))
    raw = learner.predict(features)
    for row in range(100):
        window = features.rows(row, row + 1)
        learner.learn(window, int(y[row]), learner.predict(window))
    found = learner.predict(features)
    assert found.served_by == FROZEN
    assert (found.classes == raw.classes).all()
    assert ece(found.probability[100:], y[100:]) < 0.6 * ece(raw.probability[100:], y[100:])


def test_predicting_in_between_changes_nothing() -> None:
    one, other = taught("exact", (0, 1)), taught("exact", (0, 1))
    other.predict(pipeline().features(windows(40, seed=2)[0]))
    assert one.encode() == other.encode()


def test_the_temperature_of_then_is_kept_with_the_window_and_in_the_journal() -> None:
    learner = taught("exact", (0, 1, 2), 20)
    features = pipeline().features(windows(1)[0])
    answer = replace(learner.predict(features), served_by="exact", temperature=1.75)
    window = Window(features.codes, features.embedding, answer.probability, "exact", temperature=1.75)
    assert Window.decode(window.encode()).served.temperature == 1.75
    tensors = {"codes": window.codes, "embedding": window.embedding, "probability": window.probability}
    assert Window.decode(encode_tensors(tensors, ["exact", -1, -1, -1])).served.temperature == 1.0
    entry = Entry.decode(Entry(b"", (LearnLabel(20, features, 1, answer),)).encode(), 20)
    assert isinstance(entry.operations[0], LearnLabel)
    assert entry.operations[0].served.temperature == 1.75
