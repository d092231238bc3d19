"""A small network for a table, so that nobody needs Keras to start: `edge-convert --from-csv`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.features import TrainingData, as_training_data, fit_preprocessing, reading
from converter.options import Options, scaling
from headway.arrays import AnyArray, Float32
from headway.errors import DataError
from headway.maths import Task

HIDDEN, EPOCHS_MAX, PATIENCE, BATCH = 64, 100, 8, 32
HELD_EVERY = 5  # one row in so many is not trained on, and says when to stop
ROWS_MIN = 20


def small_network(
    table: Path, options: Options, progress: Callable[[str], None] = lambda step: None
) -> tuple[Any, TrainingData, Options]:
    """A fitted Keras model, its data, and the options that the data is preprocessed with.

    Two layers of 64; over windows (`--window`) two convolutions along time before them. Where no scaling is asked for
    it is `standard`: the network is trained on values as the device will preprocess them. Raises DataError.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data = as_training_data(table, options.classes, reading(options))
    if len(data.x) < ROWS_MIN:
        raise DataError(f"{table} holds {len(data.x)} samples; a network needs {ROWS_MIN} at least")
    if options.text_column == "" and scaling(options) == "none":
        options = replace(options, scale="standard")
    options = replace(options, name=options.name or table.stem)
    progress(f"training a small network on {len(data.x)} samples")
    shape = data.x.shape[1:]
    inputs, _ = fit_preprocessing(data, shape, options).apply(data.x)
    if data.targets is None or options.task == Task.CLASSIFICATION:
        return _fitted(inputs, data.y, len(data.classes), options.seed), data, options
    return _fitted(inputs, data.targets, data.targets.shape[1], options.seed), data, options


def _fitted(x: Float32, y: AnyArray, outputs: int, seed: int) -> Any:
    """y: int64 (n,) of classes, or float32 (n, outputs) of values."""
    import keras

    keras.utils.set_random_seed(seed)
    classes, layers = y.ndim == 1, keras.layers
    body: list[Any] = [keras.Input(x.shape[1:])]
    if x.ndim == 3:
        body += [
            layers.Conv1D(32, 5, padding="same", activation="relu"),
            layers.Conv1D(HIDDEN, 5, padding="same", activation="relu"),
            layers.GlobalAveragePooling1D(),
        ]
    body += [layers.Dense(HIDDEN, activation="relu"), layers.Dense(HIDDEN, activation="relu")]
    model = keras.Sequential([*body, layers.Dense(outputs, activation="softmax" if classes else None)], name="table")
    mean, spread = (0.0, 1.0) if classes else (y.mean(axis=0), np.maximum(y.std(axis=0), 1e-9))
    wanted = y if classes else (y - mean) / spread
    held = np.arange(len(x)) % HELD_EVERY == HELD_EVERY - 1
    model.compile("adam", "sparse_categorical_crossentropy" if classes else "mse")
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    model.fit(x[~held], wanted[~held], validation_data=(x[held], wanted[held]), epochs=EPOCHS_MAX, batch_size=BATCH,
              verbose=0, callbacks=[stop])  # fmt: skip
    if not classes:  # its values in y's own unit
        kernel, bias = model.layers[-1].get_weights()
        model.layers[-1].set_weights([kernel * spread, bias * spread + mean])
    return model
