"""Options are checked when built; sources turn heads into the two-column form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converter.export.versions import at_least
from converter.features.data import as_training_data, training_data
from converter.options import Options
from converter.proof.scoring import agreement, score
from converter.sources.source import HeadWeights, head_kind
from headway.errors import ConfigError, DataError, ModelError
from headway.maths.head import HeadKind
from tests.arrays import assert_close


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"formats": ()}, "--formats is empty"),
        ({"formats": ("tflite", "tfl")}, "did you mean 'tflite'?"),
        ({"select_by": "f"}, "--select-by 'f' is unknown"),
        ({"release": 2**53}, "--release"),
        ({"name": "x" * 257}, "--id has 257 characters; at most 256"),
        ({"version": "1.0\0"}, "cannot be shown"),
        ({"buffer_per_class": -1}, "--buffer -1 must be from 0"),
    ],
)
def test_mistakes_are_named(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Options(**changed)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_data_comes_in_every_form(tmp_path: Path) -> None:
    x, y = np.zeros((4, 2)), np.array([0, 1, 1, 0])
    np.savez(tmp_path / "d.npz", x=x, y=y)
    for data in ((x, y), (x, y, ["a", "b"]), str(tmp_path / "d.npz"), tmp_path / "d.npz", training_data(x, y)):
        assert as_training_data(data).y.tolist() == [0, 1, 1, 0]
    with pytest.raises(DataError, match="data is a list; give the path of an .npz"):
        as_training_data([x, y])  # type: ignore[arg-type]


def test_values_are_told_from_labels() -> None:
    x = np.zeros((4, 2))
    assert training_data(x, np.array([0.0, 1.0, 1.0, 0.0])).targets is None
    values = training_data(x, np.array([0.5, 1, 2, 3]))
    assert values.targets is not None
    assert values.classes == ("0",)
    with pytest.raises(DataError, match="y of sample 2 is not finite"):
        training_data(x, np.array([0.5, 1, np.nan, 3]))


def test_one_sigmoid_and_two_mirrored_ones_become_softmax() -> None:
    random = np.random.default_rng(0)
    row, x = random.normal(size=(5, 1)).astype(np.float32), random.normal(size=(9, 5)).astype(np.float32)
    bias = np.array([0.3], np.float32)
    one = HeadWeights(row, bias, HeadKind.SIGMOID, "d").head(("no", "yes"))
    two = HeadWeights(np.concatenate([-row, row], axis=1), np.array([-0.3, 0.3], np.float32), HeadKind.SIGMOID, "d")
    positive = 1 / (1 + np.exp(-(x @ row + bias)[:, 0]))
    for head in (one, two.head(("no", "yes"))):
        assert head.kind is HeadKind.SOFTMAX
        assert_close(head.probabilities(x)[:, 1], positive, atol=1e-6)
    labels = HeadWeights(np.concatenate([row, row], axis=1), np.zeros(2, np.float32), HeadKind.SIGMOID, "d")
    assert labels.head(("a", "b")).kind is HeadKind.SIGMOID


def test_links_no_head_has_are_named() -> None:
    with pytest.raises(ModelError, match="'d' ends in activation tanh; a head ends in one of softmax, sigmoid, linear"):
        head_kind("tanh", "d")


def test_scores_of_labels_several_labels_and_values() -> None:
    x, rows = np.zeros((4, 2)), np.arange(4)
    labels = training_data(x, np.array([0, 1, 1, 0]))
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], np.float32)
    assert score(outputs, labels, rows, HeadKind.SOFTMAX) == 0.75
    assert agreement(outputs, outputs[::-1], labels, HeadKind.SOFTMAX) == 0.5
    several = training_data(x, np.array([[0, 1], [1, 1], [0, 0], [1, 0]]))
    assert score(outputs, several, rows, HeadKind.SIGMOID) == 0.5
    values = training_data(x, np.array([0.5, 1.0, 2.0, 3.0]))
    assert score(values.targets, values, rows, HeadKind.LINEAR) == 1.0  # type: ignore[arg-type]
    assert score(np.full((4, 1), 99, np.float32), values, rows, HeadKind.LINEAR) == 0.0


@pytest.mark.parametrize(
    ("version", "oldest", "enough"), [("2.14.0", "2.3.0", True), ("1.9", "1.12", False), ("2.0.0rc1", "2.0.0", True)]
)
def test_versions_compare_as_numbers(version: str, oldest: str, enough: bool) -> None:
    assert at_least(version, oldest) is enough
