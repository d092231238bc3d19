"""Every figure against scikit-learn, and that sums of parts are the sums of the whole."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from headway.arrays import AnyArray, Float32
from headway.errors import LocalError, RemoteError
from headway.maths.metrics import BINS, ClassificationSums
from headway.maths.recent_metrics import Recent, backward_transfer, forgetting
from headway.maths.target_metrics import SUMS, LabelSums, ValueSums
from headway.maths.task import Task

CLASSES = 4


def outputs_and_truth(task: Task, count: int, seed: int = 0, unknown: float = 0.0) -> tuple[Float32, AnyArray]:
    random = np.random.default_rng(seed)
    scores = random.normal(size=(count, CLASSES)).astype(np.float32)
    if task is Task.CLASSIFICATION:
        labels = random.choice(CLASSES, count, p=[0.5, 0.3, 0.15, 0.05])
        scores[np.arange(count), labels] += 1.0
        odds = np.exp(scores)
        return odds / odds.sum(axis=1, keepdims=True), labels
    truth = (100 + 3 * scores + random.normal(size=scores.shape)).astype(np.float32)
    if task is Task.MULTI_LABEL:
        truth = (scores + random.normal(size=scores.shape) > 0.5).astype(np.float32)
        scores = 1 / (1 + np.exp(-scores))
    else:
        scores = 100 + 3 * scores
    truth[random.random(truth.shape) < unknown] = np.nan
    return scores.astype(np.float32), truth


def test_classification_agrees_with_scikit_learn() -> None:
    from sklearn import metrics as oracle

    probabilities, labels = outputs_and_truth(Task.CLASSIFICATION, 500)
    sums, predicted = ClassificationSums.of(probabilities, labels), probabilities.argmax(axis=1)
    precision, recall, f1, support = oracle.precision_recall_fscore_support(labels, predicted, zero_division=0)
    assert sums.precision == pytest.approx(precision)
    assert sums.recall == pytest.approx(recall)
    assert sums.f1 == pytest.approx(f1)
    assert sums.support.tolist() == support.tolist()
    one_hot, exact = np.eye(CLASSES)[labels], probabilities.astype(np.float64)
    expected = {
        "samples": 500,
        "accuracy": oracle.accuracy_score(labels, predicted),
        "balanced_accuracy": oracle.balanced_accuracy_score(labels, predicted),
        "macro_precision": oracle.precision_score(labels, predicted, average="macro"),
        "macro_recall": oracle.recall_score(labels, predicted, average="macro"),
        "macro_f1": oracle.f1_score(labels, predicted, average="macro"),
        "weighted_f1": oracle.f1_score(labels, predicted, average="weighted"),
        "log_loss": oracle.log_loss(labels, exact / exact.sum(axis=1, keepdims=True)),
        "brier": float(((probabilities - one_hot) ** 2).sum(axis=1).mean()),
        "mse": oracle.mean_squared_error(one_hot, probabilities),
        "ece": calibration_error(probabilities, labels),
    }
    assert sums.summary() == pytest.approx(expected, rel=1e-5)
    assert sums.by_class(("a", "b", "c", "d"))["c"]["recall"] == pytest.approx(recall[2])


def calibration_error(probabilities: Float32, labels: AnyArray) -> float:
    """As the paper defines it: sum over bins of |B| / n |accuracy(B) - confidence(B)|."""
    confidence, hit = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
    total = 0.0
    for index in range(BINS):
        inside = (confidence >= index / BINS) & (confidence < (index + 1) / BINS)
        if inside.any():
            total += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return total


def test_classes_that_never_occurred_do_not_count() -> None:
    from sklearn import metrics as oracle

    probabilities = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    sums = ClassificationSums.of(probabilities, np.array([0, 1, 1]))
    assert sums.macro_f1 == pytest.approx(oracle.f1_score([0, 1, 1], [0, 0, 1], average="macro"))
    assert sums.balanced_accuracy == pytest.approx(0.75)
    assert np.isnan(ClassificationSums.empty(3).summary()["accuracy"])


def test_several_labels_agree_with_scikit_learn() -> None:
    from sklearn import metrics as oracle

    probabilities, truth = outputs_and_truth(Task.MULTI_LABEL, 400)
    sums, predicted = LabelSums.of(probabilities, truth), probabilities >= 0.5
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(truth, predicted, zero_division=0)
    assert sums.precision == pytest.approx(precision)
    assert sums.recall == pytest.approx(recall)
    assert sums.f1 == pytest.approx(f1)
    expected = {
        "samples": 400,
        "subset_accuracy": oracle.accuracy_score(truth, predicted),
        "label_accuracy": 1 - oracle.hamming_loss(truth, predicted),
        "macro_precision": precision.mean(),
        "macro_recall": recall.mean(),
        "macro_f1": oracle.f1_score(truth, predicted, average="macro"),
        "micro_f1": oracle.f1_score(truth, predicted, average="micro"),
        "log_loss": np.mean([oracle.log_loss(truth[:, i], probabilities[:, i]) for i in range(CLASSES)]),
        "mse": oracle.mean_squared_error(truth, probabilities),
    }
    assert sums.summary() == pytest.approx(expected, rel=1e-5)


def test_regression_agrees_with_scikit_learn_far_from_zero() -> None:
    from sklearn import metrics as oracle

    values, truth = outputs_and_truth(Task.REGRESSION, 400)
    values, truth = values + 1e5, truth + np.float32(1e5)
    sums = ValueSums.of(values, truth) + ValueSums.empty(CLASSES)
    expected = {
        "samples": 400,
        "mse": oracle.mean_squared_error(truth, values),
        "rmse": oracle.mean_squared_error(truth, values) ** 0.5,
        "mae": oracle.mean_absolute_error(truth, values),
        "r2": oracle.r2_score(truth.astype(np.float64), values.astype(np.float64)),
    }
    assert sums.summary() == pytest.approx(expected, rel=1e-4)


def test_unknown_targets_do_not_count() -> None:
    from sklearn import metrics as oracle

    values, truth = outputs_and_truth(Task.REGRESSION, 300, unknown=0.4)
    known = ~np.isnan(truth[:, 2])
    sums = ValueSums.of(values, truth)
    assert sums.known[2] == known.sum()
    assert sums.squared[2] / known.sum() == pytest.approx(
        oracle.mean_squared_error(truth[known, 2], values[known, 2]), rel=1e-5
    )
    probabilities, labels = outputs_and_truth(Task.MULTI_LABEL, 300, unknown=0.4)
    known = ~np.isnan(labels[:, 1])
    expected = oracle.f1_score(labels[known, 1], probabilities[known, 1] >= 0.5)
    assert LabelSums.of(probabilities, labels).f1[1] == pytest.approx(expected)


@pytest.mark.parametrize("task", list(Task))
def test_parts_add_up_to_the_whole_and_survive_json(task: Task) -> None:
    outputs, truth = outputs_and_truth(task, 300, unknown=0.2)
    kind = SUMS[task]
    whole, parts = kind.of(outputs, truth), kind.empty(CLASSES)
    for start in (0, 1, 50, 299):
        stop = {0: 1, 1: 50, 50: 299, 299: 300}[start]
        parts = parts + kind.of(outputs[start:stop], truth[start:stop])  # type: ignore[operator]
    assert parts.summary() == pytest.approx(whole.summary(), rel=1e-9)
    back = kind.from_json(whole.to_json(), CLASSES)
    assert back.to_json() == whole.to_json()
    with pytest.raises(LocalError, match="cannot be added"):
        whole + kind.empty(CLASSES + 1)  # type: ignore[operator]


@pytest.mark.parametrize("task", list(Task))
def test_recent_is_the_newest_rows_and_nothing_else(task: Task) -> None:
    outputs, truth = outputs_and_truth(task, 90)
    recent, restored = Recent(SUMS[task], 32), Recent(SUMS[task], 32)
    assert recent.sums(CLASSES).samples == 0
    for row in range(90):
        recent.add(outputs[row : row + 1], truth[row : row + 1])
        if row == 70:
            restored.restore(recent.state())
        if row > 70:
            restored.add(outputs[row : row + 1], truth[row : row + 1])
    expected = SUMS[task].of(outputs[-32:], truth[-32:]).summary()
    assert recent.sums(CLASSES).summary() == pytest.approx(expected)
    assert restored.sums(CLASSES).summary() == pytest.approx(expected)


def test_forgetting_and_backward_transfer_by_hand() -> None:
    accuracy = np.array([[0.9, 0.1, 0.2], [0.7, 0.8, 0.2], [0.6, 0.85, 0.9]])
    assert forgetting(accuracy) == pytest.approx(((0.9 - 0.6) + (0.8 - 0.85)) / 2)
    assert backward_transfer(accuracy) == pytest.approx(((0.6 - 0.9) + (0.85 - 0.8)) / 2)
    assert forgetting(accuracy[:1, :1]) == backward_transfer(accuracy[:1, :1]) == 0.0
    with pytest.raises(LocalError, match="one row per phase"):
        forgetting(accuracy[:2])


def test_nothing_scored_gives_no_figure_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in SUMS.values():
            figures = kind.empty(3).summary()
            assert figures.pop("samples") == 0
            assert all(np.isnan(value) for value in figures.values())


def test_a_refusal_of_odd_names_stays_one_short_line() -> None:
    odd = {f"{'n' * 5000}{number}": 0 for number in range(100)}
    with pytest.raises(RemoteError) as caught:
        ClassificationSums.from_json(odd, 3)
    message = str(caught.value)
    assert "and 92 more" in message
    assert len(message) < 600
