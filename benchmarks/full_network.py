"""The upper reference of the learning benchmark: every weight of the network is trained, every labelled row is kept.

A device could not do this: it needs the raw windows, the training data, TensorFlow and its memory. Rows are rehearsed
as the field does it: a mini-batch holds the newest rows, and of what is left half is drawn from everything taught so
far and half from the training data, so a few labels are not drowned and nothing is forgotten for want of data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.datasets import Rows
from benchmarks.tasks import Device, Task
from headway.arrays import Float32, Int64

RATE = 1e-3
BATCH = 64
# mini-batches: of a stream, per label; of a few labels that all came before the test
STEPS_PER_LABEL, STEPS_OF_FEW = 0.5, 400


class FullNetwork:
    """Adam on all weights, from raw windows. model: as trained for the bundle; it is not changed."""

    def __init__(self, model: Any, task: Task, seed: int) -> None:
        import keras

        keras.utils.set_random_seed(seed)
        self._random = np.random.default_rng(seed)
        self._model = keras.models.clone_model(model)
        self._model.set_weights(model.get_weights())
        self._model.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy")
        self._task = task
        x = task.training.x
        self._mean = x.mean(axis=0, dtype=np.float64) if task.tabular else np.zeros(1)
        self._deviation = x.std(axis=0, dtype=np.float64) + 1e-12 if task.tabular else np.ones(1)
        self._training = Rows(self._scaled(x), task.training.y)

    def run(self, device: Device) -> dict[str, float]:
        """Accuracies of one device, as `benchmarks.learning` scores them, in the same blocks."""
        taught = Rows(self._scaled(device.taught.x), device.taught.y)
        if not self._task.prequential:
            self._steps(taught, len(taught), 0, STEPS_OF_FEW)
            return {name: self._right(rows) / len(rows) for name, rows in device.tests.items()}
        right, block = 0, self._task.block
        for start in range(0, len(taught), block):
            stop = min(start + block, len(taught))
            right += int((self._predict(taught.x[start:stop]) == taught.y[start:stop]).sum())
            self._steps(taught, stop, stop - start, max(1, round(STEPS_PER_LABEL * (stop - start))))
        return {"prequential": right / len(taught)}

    def _steps(self, taught: Rows, known: int, newest: int, count: int) -> None:
        """Mini-batches from the first `known` rows taught, the `newest` of them in each, and from the training rows."""
        for _ in range(count):
            drawn = self._random.integers(0, known, (BATCH - newest) // 2)
            rows = np.concatenate([np.arange(known - newest, known), drawn])
            old = self._random.integers(0, len(self._training), BATCH - len(rows))
            x = np.concatenate([taught.x[rows], self._training.x[old]])
            self._model.train_on_batch(x, np.concatenate([taught.y[rows], self._training.y[old]]))

    def _right(self, rows: Rows) -> int:
        return int((self._predict(self._scaled(rows.x)) == rows.y).sum())

    def _predict(self, x: Float32) -> Int64:
        return np.asarray(self._model.predict_on_batch(x).argmax(axis=1), np.int64)

    def _scaled(self, x: Float32) -> Float32:
        return np.asarray((x - self._mean) / self._deviation, np.float32)
