"""A small network for a table, so that nobody needs Keras to start: `edge-convert --from-csv`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.features import TrainingData, as_training_data, fit_preprocessing, reading, settled_alone, table_of
from converter.held_out import EVERY, held_line, held_out
from converter.loading import load_tensorflow
from converter.options import Options, scaling
from headway.arrays import AnyArray, Bools, Float32
from headway.errors import DataError
from headway.maths import HeadKind

HIDDEN, EPOCHS_MAX, PATIENCE = 64, 100, 8
# about so many rows in a batch that an epoch has so many batches
BATCHES, BATCH_MIN, BATCH_MAX = 600, 32, 512
ROWS_MIN = 20
LOSSES = {
    HeadKind.SOFTMAX: "sparse_categorical_crossentropy",
    HeadKind.SIGMOID: "binary_crossentropy",
    HeadKind.LINEAR: "mse",
}


def small_network(
    table: Path, options: Options, progress: Callable[[str], None] = lambda step: None
) -> tuple[Any, TrainingData, Options]:
    """A fitted Keras model, its data, and the options that the data is preprocessed with.

    Two layers of 64; over windows (`--window`) two convolutions along time before them. Where no scaling is asked for
    it is `standard`: the network is trained on values as the device will preprocess them. Raises DataError.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data = as_training_data(table_of(table, reading(options)), options.classes)
    if len(data.x) < ROWS_MIN:
        raise DataError(f"{table} holds {len(data.x)} samples; a network needs {ROWS_MIN} at least")
    data, kind, labels = settled_alone(data, options.task)
    if options.text_column == "" and scaling(options) == "none":
        options = replace(options, scale="standard")
    options = replace(options, name=options.name or table.stem)
    progress(f"training a small network on {len(data.x)} samples; {labels}")
    inputs, _ = fit_preprocessing(data, data.x.shape[1:], options).apply(data.x)
    held, fitted = held_out(data)
    if not held.any():
        raise DataError(
            f"{table} gives {len(data.x)} windows, too many of which share rows: none can be held out to say when to "
            f"stop; give a longer --stride than {data.stride}, or more rows"
        )
    model = _fitted(inputs, data, held, fitted, kind, options.seed)
    how = f"trained without every {EVERY}th row, which only said when to stop, the network"
    told = held_line(model.predict(inputs[held], verbose=0), data, held, kind, how)
    return model, replace(data, notes=(*data.notes, told)), options


def _fitted(x: Float32, data: TrainingData, held: Bools, fitted: Bools, kind: HeadKind, seed: int) -> Any:
    load_tensorflow()
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    body: list[Any] = [keras.Input(x.shape[1:])]
    if x.ndim == 3:
        body += [
            layers.Conv1D(32, 5, padding="same", activation="relu"),
            layers.Conv1D(HIDDEN, 5, padding="same", activation="relu"),
            layers.GlobalAveragePooling1D(),
        ]
    body += [layers.Dense(HIDDEN, activation="relu"), layers.Dense(HIDDEN, activation="relu")]
    activation = None if kind is HeadKind.LINEAR else str(kind)
    model = keras.Sequential([*body, layers.Dense(len(data.classes), activation=activation)], name="table")
    values = kind is HeadKind.LINEAR
    wanted: AnyArray = data.y if data.targets is None else data.targets
    mean, spread = (wanted.mean(axis=0), wanted.std(axis=0)) if values else (0.0, 1.0)
    spread = np.where(spread > 0, spread, 1.0)  # in the unit of y, which may be of any size
    if values:
        wanted = (wanted - mean) / spread
    model.compile("adam", LOSSES[kind])
    stop = keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    batch = int(np.clip(len(x) // BATCHES, BATCH_MIN, BATCH_MAX))
    model.fit(x[fitted], wanted[fitted], validation_data=(x[held], wanted[held]), epochs=EPOCHS_MAX, batch_size=batch,
              verbose=0, callbacks=[stop])  # fmt: skip
    if values:  # its values in y's own unit
        kernel, bias = model.layers[-1].get_weights()
        model.layers[-1].set_weights([kernel * spread, bias * spread + mean])
    return model
