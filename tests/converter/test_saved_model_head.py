"""Heads of SavedModels, where layers are gone: convolutions and means, as in Keras models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.sources.saved_model_source import SavedModelSource
from headway.errors import ModelError
from tests.optional import when_used

keras = when_used("keras")
tf = when_used("tensorflow")
layers = when_used("keras.layers")
FORMS: dict[str, Callable[[], list[Any]]] = {
    "pointwise, then mean": lambda: [layers.Conv2D(3, 1), layers.GlobalAveragePooling2D(), layers.Softmax()],
    "mean, then pointwise": lambda: [layers.GlobalAveragePooling2D(keepdims=True), layers.Conv2D(3, 1),
                                     layers.Flatten(), layers.Activation("softmax")],
    "the whole map": lambda: [layers.Conv2D(3, 6), layers.Flatten(), layers.Activation("sigmoid")],
    "bent before the mean": lambda: [layers.Conv2D(3, 1, activation="relu"), layers.GlobalAveragePooling2D(),
                                     layers.Softmax()],
    "wide, then mean": lambda: [layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Softmax()],
    "a pool as large as the map": lambda: [layers.Conv2D(3, 1), layers.AveragePooling2D(6), layers.Flatten()],
    "a product at every place": lambda: [layers.Dense(3), layers.GlobalAveragePooling2D(), layers.Softmax()],
}  # fmt: skip


def saved(folder: Path, entry: tuple[int, ...], *stack: Any) -> tuple[Any, SavedModelSource]:
    model = keras.Sequential([layers.Input(entry), *stack])
    for weight in model.weights:
        weight.assign(np.random.default_rng(len(weight.shape)).normal(size=weight.shape) * 0.3)
    model.export(folder / "m", verbose=False)
    return model, SavedModelSource(folder / "m")


def agrees(model: Any, source: SavedModelSource, folder: Path) -> None:
    """Backbone, as written for the converters, and head give the model's own outputs."""
    x = np.random.default_rng(0).normal(size=(5, *source.input_shape)).astype(np.float32)
    embedding, outputs = source.answers(x)
    assert np.allclose(outputs, model.predict(x, verbose=0).reshape(5, -1), atol=1e-6)
    head = source.weights.head(("a", "b", "c"))
    assert np.allclose(head.probabilities(embedding), outputs, atol=1e-5)
    source.save(folder / "backbone", source.forms()[0])
    written = tf.saved_model.load(str(folder / "backbone"))
    (again,) = written.signatures["serving_default"](tf.constant(x)).values()
    assert np.allclose(again, embedding, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_convolutions_and_means_are_heads_of_a_saved_model(form: str, tmp_path: Path) -> None:
    front = layers.Conv2D(5, 3, activation="relu")
    model, source = saved(tmp_path, (8, 8, 2), front, *FORMS[form]())
    agrees(model, source, tmp_path)


def test_so_is_one_over_time(tmp_path: Path) -> None:
    stack = [layers.Conv1D(5, 3), layers.Conv1D(3, 1), layers.GlobalAveragePooling1D(), layers.Softmax()]
    agrees(*saved(tmp_path, (12, 4), *stack), tmp_path)


def test_a_map_of_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a convolution of .* over .* places; a head sees one vector"):
        saved(tmp_path, (8, 8, 2), layers.Conv2D(3, 1), layers.Flatten())
