"""What is said, or refused, when data and model do not fit together: order of classes, scale of x, gaps, dead data."""

from __future__ import annotations

import numpy as np
import pytest

from converter.features import TrainingData, training_data
from converter.findings import answer_lines, best_order, check_windows, filled_lines, own_gaps_line
from headway.arrays import AnyArray, Float32
from headway.errors import DataError, ModelError
from headway.maths import Head, HeadInput, HeadKind, link

COUNT = 240
NAMES = ("idle", "run", "walk")
RANDOM = np.random.default_rng(0)
TRUE = np.arange(COUNT) % 3
X = (3 * np.eye(3)[TRUE] + RANDOM.normal(0, 0.7, (COUNT, 3))).astype(np.float32)
HEAD = Head(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), HeadKind.SOFTMAX, NAMES, HeadInput.EMBEDDING)


def answers(windows: Float32) -> Float32:
    """A model that is right where the largest of three values is that of the class, and nothing else changes it."""
    return link(windows, HeadKind.SOFTMAX)


def said(data: TrainingData, outputs: Float32 | None = None, head: Head = HEAD) -> str:
    inputs = data.x.astype(np.float32)
    found = answers(inputs) if outputs is None else outputs
    return " | ".join(answer_lines(answers, head, data, np.arange(len(inputs)), inputs, found))


def test_a_good_model_is_met_with_silence() -> None:
    assert said(training_data(X, TRUE, NAMES)) == ""


def test_names_that_belong_to_the_outputs_in_another_order_are_refused() -> None:
    trained = np.array(["walk", "idle", "run"])
    with pytest.raises(DataError, match="far better in another order of classes: .* right as walk,idle,run, .*--class"):
        said(training_data(X, trained[TRUE]))


def test_names_in_the_right_order_are_taken_and_the_order_is_told() -> None:
    assert "in the order of the alphabet: ['idle', 'run', 'walk']" in said(training_data(X, np.array(NAMES)[TRUE]))


@pytest.mark.parametrize("classes", [None, NAMES])
def test_shifted_indices_are_called_no_better_than_chance_and_a_better_order_is_named(classes: object) -> None:
    lines = said(training_data(X, (TRUE + 1) % 3, classes))  # type: ignore[arg-type]
    assert "no better than chance" in lines
    assert "far better in another order" in lines


def test_random_labels_are_no_reason_to_suspect_the_order() -> None:
    for seed in range(20):
        labels = np.random.default_rng(seed).integers(0, 3, COUNT)
        assert "in another order" not in said(training_data(X, labels, NAMES))


def test_two_rare_classes_that_changed_places_are_found() -> None:
    labels = np.where(np.arange(COUNT) % 10 < 8, 0, 1 + np.arange(COUNT) % 2)
    x = np.eye(3, dtype=np.float32)[labels]
    swapped = np.array([0, 2, 1])[labels]
    assert "far better in another order of classes: 100.0 % of the windows are right as idle,walk,run, 80.0 %" in said(
        training_data(x, swapped, NAMES)
    )


def test_many_classes_with_few_windows_each_give_no_false_alarm() -> None:
    names = tuple(map(str, range(50)))
    head = Head(np.eye(50, dtype=np.float32), np.zeros(50, np.float32), HeadKind.SOFTMAX, names, HeadInput.EMBEDDING)
    for seed in range(10):
        random = np.random.default_rng(seed)
        x, labels = random.normal(size=(300, 50)).astype(np.float32), random.integers(0, 50, 300)
        assert "in another order" not in said(training_data(x, labels, names), head=head)


def test_a_model_that_always_says_the_same_is_named() -> None:
    always = np.tile(np.array([[0.1, 0.8, 0.1]], np.float32), (COUNT, 1))
    assert "answers 'run' to every window" in said(training_data(X, TRUE, NAMES), always)


@pytest.mark.parametrize(
    ("change", "told"),
    [(lambda x: x * 255, "x / 255"), (lambda x: x / 1000, "x * 1000"), (lambda x: 40 * x + 7, "standardise")],
)
def test_another_scale_than_in_training_is_found(change: object, told: str) -> None:
    def trained_on_small(windows: Float32) -> Float32:
        """Right within the range of training, lost outside of it."""
        inside = (np.abs(windows).max(axis=1) < 8) & (np.abs(windows).max(axis=1) > 1.2)
        return np.where(inside[:, None], answers(windows), np.array([[1, 0, 0]], np.float32))

    data = training_data(change(X), TRUE, NAMES)  # type: ignore[operator]
    inputs = data.x.astype(np.float32)
    lines = answer_lines(trained_on_small, HEAD, data, np.arange(COUNT), inputs, trained_on_small(inputs))
    scale = [line for line in lines if "another scale than in training: with" in line]
    assert told in "".join(scale)


def test_a_model_that_cannot_take_other_scales_is_not_tried_on_them() -> None:
    def indices_only(windows: Float32) -> Float32:
        raise ModelError("out of range")

    data = training_data(X, (TRUE + (RANDOM.random(COUNT) < 0.6)) % 3, NAMES)
    answer_lines(indices_only, HEAD, data, np.arange(COUNT), X, answers(X))


def test_sigmoids_over_exclusive_classes_do_not_add_up_to_one_and_that_is_said() -> None:
    head = Head(HEAD.kernel, HEAD.bias, HeadKind.SIGMOID, NAMES, HeadInput.EMBEDDING)
    outputs = link(X, HeadKind.SIGMOID)
    least, most = outputs.sum(axis=1).min(), outputs.sum(axis=1).max()
    assert f"(their sum is {least:.2f} to {most:.2f} here)" in said(training_data(X, TRUE, NAMES), outputs, head)


def test_columns_of_labels_in_another_order_are_found() -> None:
    targets = np.eye(3, dtype=np.float32)[TRUE]
    head = Head(HEAD.kernel, HEAD.bias, HeadKind.SIGMOID, NAMES, HeadInput.EMBEDDING)
    outputs = link(4 * X - 6, HeadKind.SIGMOID)
    assert said(training_data(X, targets, NAMES), outputs, head) == ""
    lines = said(training_data(X, targets[:, [1, 2, 0]], NAMES), outputs, head)
    assert "the columns of y fit the model's outputs in another order: walk,idle,run" in lines
    assert "no better than chance" in lines


def test_values_worse_than_their_mean_are_named() -> None:
    head = Head(HEAD.kernel, HEAD.bias, HeadKind.LINEAR, NAMES, HeadInput.EMBEDDING)
    assert said(training_data(X, X + 0.1, NAMES), X, head) == ""
    assert "no better than the mean of y at ['run']" in said(training_data(X, X * [1, -1, 1] + 0.1, NAMES), X, head)


def test_the_best_order_uses_every_label_once() -> None:
    assert best_order(np.array([[0, 9, 0], [8, 9, 0], [0, 0, 1]])).tolist() == [1, 0, 2]
    assert best_order(np.zeros((3, 3), np.int64)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("window", [np.zeros((4, 2)), np.arange(8.0).reshape(4, 2)], ids=["zeros", "one window"])
def test_windows_that_are_all_the_same_prove_nothing(window: AnyArray) -> None:
    with pytest.raises(DataError, match="all 30 windows of x are the same"):
        check_windows(np.repeat(window[None], 30, axis=0))


def test_few_different_windows_and_dead_channels_are_named() -> None:
    x = RANDOM.normal(size=(30, 4, 2))
    assert check_windows(x) == []
    assert "only 3 of the 30 windows are different" in check_windows(x[np.arange(30) % 3])[0]
    x[:, :, 1] = 7
    assert "nothing ever changes in channel 1 (7) of x" in check_windows(x)[0]


def test_filled_values_are_counted() -> None:
    missing = np.zeros((10, 5, 2), bool)
    assert filled_lines(missing, "mean") == []
    missing[:4, 0, 0] = True
    (line,) = filled_lines(missing, "mean")
    assert line.startswith("4 of 100 values of x (4 %) are missing, in 4 of 10 windows; the channel's mean stands in")


def test_a_model_that_takes_gaps_by_itself_is_found() -> None:
    gaps = X[:20].copy()
    gaps[:, 0] = np.nan
    asked_filled = answers(np.nan_to_num(gaps, nan=9))
    assert own_gaps_line(gaps, asked_filled, answers) == [], "NaN comes out: it does not take gaps by itself"
    (line,) = own_gaps_line(gaps, asked_filled, lambda x: answers(np.nan_to_num(x, nan=-9)))
    assert "takes missing values by itself and answers 20 of 20 such windows otherwise" in line
