"""What y is taken for under each head: classes, labels that hold together, values; and when it is asked."""

from __future__ import annotations

import numpy as np
import pytest

from converter.features import TrainingData, as_training_data, settled, training_data
from converter.sources import HeadWeights
from headway.arrays import AnyArray
from headway.errors import DataError
from headway.maths import HeadKind

INDICES = np.array([0, 2, 1, 0, 2, 1])
ONE_HOT = np.eye(3)[INDICES]
BINARY = np.array([0, 1, 1, 0, 1, 0])


def weights(kind: HeadKind, outputs: int) -> HeadWeights:
    return HeadWeights(np.ones((4, outputs), np.float32), np.zeros(outputs, np.float32), kind, "head")


def read(
    y: AnyArray, kind: HeadKind, outputs: int, task: str = "auto", classes: list[str] | None = None
) -> tuple[TrainingData, str]:
    x = np.arange(len(y) * 4.0).reshape(len(y), 4)
    return settled(training_data(x, y, classes), weights(kind, outputs), task)


@pytest.mark.parametrize("kind", [HeadKind.SOFTMAX, HeadKind.LINEAR])
@pytest.mark.parametrize("dtype", [bool, int, np.float32])
def test_one_hot_rows_are_classes_under_softmax_and_logits(kind: HeadKind, dtype: type) -> None:
    data, said = read(ONE_HOT.astype(dtype), kind, 3, classes=["a", "b", "c"])
    assert (data.targets, data.y.tolist(), data.classes) == (None, INDICES.tolist(), ("a", "b", "c"))
    assert "one class per window, read from one-hot rows" in said


def test_one_hot_rows_under_sigmoids_stay_labels_and_the_other_reading_is_named() -> None:
    data, said = read(ONE_HOT, HeadKind.SIGMOID, 3)
    assert data.targets is not None
    assert "each row holds one label: --task classification if they exclude each other" in said
    assert read(ONE_HOT, HeadKind.SIGMOID, 3, "classification")[0].y.tolist() == INDICES.tolist()


def test_one_hot_values_are_values_when_asked() -> None:
    assert read(ONE_HOT, HeadKind.LINEAR, 3, "regression")[0].targets is not None


@pytest.mark.parametrize(("kind", "outputs"), [(HeadKind.SOFTMAX, 3), (HeadKind.LINEAR, 3)])
@pytest.mark.parametrize("classes", [None, ["a", "b", "c"]])
def test_a_column_of_indices_is_one_class_per_window(kind: HeadKind, outputs: int, classes: list[str] | None) -> None:
    assert read(INDICES[:, None], kind, outputs, classes=classes)[0].y.tolist() == INDICES.tolist()


def test_a_column_of_names_is_one_class_per_window() -> None:
    names = np.array(["b", "a", "b", "a"])
    assert read(names[:, None], HeadKind.SOFTMAX, 2)[0].y.tolist() == [1, 0, 1, 0]
    assert read(names.astype(object), HeadKind.SOFTMAX, 2)[0].classes == ("a", "b")


@pytest.mark.parametrize("y", [BINARY, BINARY[:, None], np.eye(2)[BINARY], BINARY.astype(bool)], ids=repr)
def test_one_sigmoid_has_two_classes_however_they_are_written(y: AnyArray) -> None:
    data, _ = read(y, HeadKind.SIGMOID, 1)
    assert (data.targets, data.y.tolist(), len(data.classes)) == (None, BINARY.tolist(), 2)


def test_whole_numbers_under_one_linear_output_are_values() -> None:
    for y in (np.array([20, 35, 50, 20]), np.array([-7, 1, 2, 3]), np.array([10**12, 5, 6, 7])):
        data, said = read(y, HeadKind.LINEAR, 1)
        assert data.targets is not None
        assert data.targets[:, 0].tolist() == pytest.approx(y.tolist())
        assert "values to predict, a regression" in said


def test_zeros_and_ones_under_one_linear_output_are_asked_about() -> None:
    with pytest.raises(DataError, match="give --task classification if .* from_logits=True, --task regression"):
        read(BINARY, HeadKind.LINEAR, 1)
    assert read(BINARY, HeadKind.LINEAR, 1, "classification")[0].targets is None
    assert read(BINARY, HeadKind.LINEAR, 1, "regression")[0].targets is not None


@pytest.mark.parametrize(
    ("y", "kind", "outputs", "task", "message"),
    [
        (INDICES + 1, HeadKind.SOFTMAX, 3, "auto", "class indices begin at 0: give y - 1"),
        (INDICES + 0.5, HeadKind.SOFTMAX, 3, "auto", "fractions per sample, but the model ends in a softmax"),
        (0.8 * ONE_HOT + 0.1, HeadKind.SOFTMAX, 3, "auto", "give one class index per sample"),
        (ONE_HOT[:, :2] + 0.5, HeadKind.LINEAR, 3, "auto", r"the model has 3 outputs; give \(n, 3\) values"),
        (3 * ONE_HOT, HeadKind.SIGMOID, 3, "auto", "values from 0 to 3, but the model ends in a sigmoid"),
        (INDICES, HeadKind.SOFTMAX, 3, "regression", "--task regression needs numbers for every output"),
        (ONE_HOT + 0.5, HeadKind.LINEAR, 3, "classification", "needs one class per sample"),
        (ONE_HOT + 0.5, HeadKind.LINEAR, 3, "multi-label", "ends in linear, a regression head"),
    ],
)
def test_what_no_head_gives_is_refused(y: AnyArray, kind: HeadKind, outputs: int, task: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(y, kind, outputs, task)


def test_data_that_a_program_settled_is_taken_as_it_is() -> None:
    data = TrainingData(np.ones((2, 4)), np.array([-1, -1]), ("a", "b"), np.eye(2, dtype=np.float32))
    assert settled(data, weights(HeadKind.LINEAR, 2))[0] is data


def test_labels_and_names_come_in_other_types_too() -> None:
    for y in (np.array([b"b", b"a", b"b"]), np.array(["b", "a", "b"], object)):
        assert read(y, HeadKind.SOFTMAX, 2)[0].y.tolist() == [1, 0, 1]
    assert read(np.array([1, 0, 1], object), HeadKind.SOFTMAX, 2)[0].y.tolist() == [1, 0, 1]
    assert training_data(np.ones((2, 3)), np.array([0, 1]), [0, 1]).classes == ("0", "1")  # type: ignore[list-item]
    with pytest.raises(DataError, match="classes is the text 'ab'; give a list of names"):
        training_data(np.ones((2, 3)), np.array([0, 1]), "ab")


def test_masked_values_are_missing() -> None:
    x = np.ma.masked_greater(np.arange(8.0).reshape(2, 4), 5)
    assert np.isnan(as_training_data((x, np.array([0, 1]))).x).sum() == 2
